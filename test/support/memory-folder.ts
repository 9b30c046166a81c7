import { accessSync, constants, mkdtempSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SHARED_MEMORY = "/dev/shm";
const ROOM_BYTES = 512 * 1_048_576;

/**
 * A folder of its own as `temporaryFolder` gives it, in memory where Linux has room for that, otherwise on the disk: for tests
 * that want a real file and to which it is all the same what a power loss would leave of it.
 */
export function memoryFolder(): { readonly file: (name: string) => string; remove(): void } {
  const folder = mkdtempSync(join(hasRoom() ? SHARED_MEMORY : tmpdir(), "evenkeel-"));
  return {
    file: (name) => join(folder, name),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function hasRoom(): boolean {
  try {
    accessSync(SHARED_MEMORY, constants.W_OK);
    const { bavail, bsize } = statfsSync(SHARED_MEMORY);
    return bavail * bsize >= ROOM_BYTES;
  } catch {
    return false;
  }
}
