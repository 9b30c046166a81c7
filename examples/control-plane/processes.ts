import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";

/**
 * The command lines of those of these processes that run or are stopped. What has ended has none, also where its parent has not
 * asked for its exit code; and a process that got the id of one that ended has another.
 */
export function commandLinesOf(pids: readonly number[]): Map<number, string> {
  return existsSync("/proc/self/cmdline") ? fromProc(pids) : fromPs(pids);
}

function fromProc(pids: readonly number[]): Map<number, string> {
  const lines = new Map<number, string>();
  for (const pid of pids) {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      if (line !== "") lines.set(pid, line);
    } catch (error) {
      // It has ended, or is about to. Of anything else nothing may be concluded.
      if (!["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    }
  }
  return lines;
}

/** Where there is no /proc, as on macOS. */
function fromPs(pids: readonly number[]): Map<number, string> {
  const wanted = new Set(pids);
  const listed = execFileSync("ps", ["-A", "-ww", "-o", "pid=,args="], { encoding: "utf8", maxBuffer: 2 ** 26 });
  const lines = listed.split("\n").map((line) => /^ *(\d+) (.+)$/.exec(line));
  return new Map(
    lines.flatMap((found) => (found && wanted.has(Number(found[1])) ? [[Number(found[1]), found[2] ?? ""]] : [])),
  );
}
