import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { BadInput } from "./bad-input.ts";
import { takeOnce } from "./take-once.ts";

export interface FolderOwner {
  /** The ledger's id. */
  readonly ledger: string;
  readonly groups: readonly string[];
}

/**
 * Takes a folder for the workers of a ledger, and makes what is missing of it. The first ledger that comes has it for ever: starts of two
 * ledgers have the same names and the same keys.
 * @throws BadInput where it is another ledger's, or can't be a folder.
 */
export function takeFolder(folder: string, { ledger, groups }: FolderOwner): void {
  const owner = orSayThatItCannotBe(folder, () => {
    mkdirSync(folder, { recursive: true });
    const found = ownerOf(folder, ledger);
    if (found === ledger) for (const group of groups) mkdirSync(join(folder, group), { recursive: true });
    return found;
  });
  if (owner === ledger) return;
  throw new BadInput(
    `--workers: ${folder} has the workers of another ledger. Remove it once they have ended, or name another.`,
  );
}

/** Whose it is: this ledger's, unless another one was first. */
function ownerOf(folder: string, ledger: string): string {
  const file = join(folder, "ledger.id");
  takeOnce(file, ledger);
  return readFileSync(file, "utf8");
}

function orSayThatItCannotBe<T>(folder: string, begin: () => T): T {
  try {
    return begin();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new BadInput(`--workers: ${folder} can't be the folder of workers: ${message}.`);
  }
}
