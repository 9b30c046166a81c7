import { linkSync, rmSync, writeFileSync } from "node:fs";

/**
 * Makes a file with this text unless it is there, as `worker.mjs` does: of many at once, in whatever processes, one makes it. A link to a
 * file that is whole already fails where there is one, and nobody ever reads half of it.
 */
export function takeOnce(file: string, text: string): void {
  const draft = `${file}.${process.pid}.draft`;
  writeFileSync(draft, text);
  try {
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(draft);
  }
}
