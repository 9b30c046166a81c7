import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";

/** By process id. What has ended has no command line, also where its parent has not asked for its exit code. */
export type CommandLines = ReadonlyMap<number, string>;

/** The command lines of all processes that run or are stopped. */
export function commandLines(): CommandLines {
  if (!existsSync("/proc/self/cmdline")) return fromPs();
  const pids = readdirSync("/proc").map(Number).filter(Number.isInteger);
  return fromProc(pids, [...ENDED, ...OF_OTHERS]);
}

/** Those of some of them; a process that got the id of one that ended has another. */
export function commandLinesOf(pids: readonly number[]): CommandLines {
  return existsSync("/proc/self/cmdline") ? fromProc(pids, ENDED) : fromPs();
}

/** What reading of a process fails with that has ended, or is about to. */
const ENDED = ["ENOENT", "ESRCH"];
/** And of one that is another user's, where those are hidden. */
const OF_OTHERS = ["EACCES", "EPERM"];

/** @throws what reading did, but for `passed`: of anything else nothing may be concluded. */
function fromProc(pids: readonly number[], passed: readonly string[]): CommandLines {
  const lines = new Map<number, string>();
  for (const pid of pids) {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      if (line !== "") lines.set(pid, line);
    } catch (error) {
      if (!passed.includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    }
  }
  return lines;
}

/** All of them, where there is no /proc, as on macOS. */
function fromPs(): CommandLines {
  const listed = execFileSync("ps", ["-A", "-ww", "-o", "pid=,args="], { encoding: "utf8", maxBuffer: 2 ** 26 });
  const lines = listed.split("\n").map((line) => /^ *(\d+) (.+)$/.exec(line));
  return new Map(lines.flatMap((found) => (found ? [[Number(found[1]), found[2] ?? ""]] : [])));
}

/** Sends a signal to a process that may have ended. */
export function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
