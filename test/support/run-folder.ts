import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const VARIABLE = "EVENKEEL_RUN_FOLDER";

/**
 * Waits until its standard input closes, which the end of the process that holds it does, however it ends. Then it sends every
 * recorded process the signal that was recorded with it, kills what is still there after 3 s, and removes the folder. A recorded
 * process id that meanwhile belongs to another program is left alone: the processes of a run have the folder's name in their
 * arguments or their title.
 */
const SWEEPER = `
cat >/dev/null
ours() {
  if [ -r "/proc/$1/cmdline" ]; then tr '\\0' ' ' <"/proc/$1/cmdline"; else ps -o args= -p "$1"; fi | grep -qF "\${0##*/}"
}
left() {
  for file in "$0"/pids/*; do
    pid=\${file##*/}
    if kill -0 "$pid" && ours "$pid"; then echo "$pid"; fi
  done 2>/dev/null
}
for pid in $(left); do
  kill -s "$(cat "$0/pids/$pid")" "$pid"
  kill -s CONT "$pid"
done
turn=0
while [ -n "$(left)" ] && [ $turn -lt 60 ]; do
  sleep 0.05
  turn=$((turn + 1))
done
for pid in $(left); do kill -s KILL "$pid"; done
rm -rf "$0" || { sleep 0.3; rm -rf "$0"; }
`;

/** What a run of the tests leaves nowhere else: the folders of its servers, and the process ids of those that run. */
export interface RunFolder {
  readonly path: string;
  /** Ends the servers that still run and removes the folder. */
  close(): Promise<void>;
}

/**
 * Opens the folder that servers started by this process, and by processes that it starts, are kept in. Everything in it is
 * ended and removed when this process ends, also by SIGKILL.
 */
export function openRunFolder(): RunFolder {
  const path = mkdtempSync(join(tmpdir(), "evenkeel-run-"));
  // PostgreSQL runs as another user than root.
  chmodSync(path, 0o755);
  mkdirSync(join(path, "pids"));
  process.env[VARIABLE] = path;
  // A process group of its own, which Ctrl-C does not reach.
  const sweeper = spawn("/bin/sh", ["-c", SWEEPER, path], { detached: true, stdio: ["pipe", "ignore", "ignore"] });
  const swept = once(sweeper, "exit");
  sweeper.unref();
  (sweeper.stdin as unknown as { unref(): void }).unref();
  return {
    path,
    async close() {
      sweeper.ref();
      sweeper.stdin.end();
      await swept;
      if (process.env[VARIABLE] === path) delete process.env[VARIABLE];
    },
  };
}

/** The folder of this run; opens one for a process that vitest did not start. */
export function runFolder(): string {
  return process.env[VARIABLE] ?? openRunFolder().path;
}

/** A new folder in the run's folder. */
export function newFolder(name: string): Promise<string> {
  return mkdtemp(join(runFolder(), `${name}-`));
}
