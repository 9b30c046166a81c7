import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";

/** A process of `worker.ts`. */
export interface WorkerProcess {
  readonly id: string;
  readonly incarnation: number;
  readonly pid: number;
}

/**
 * The workers of a ledger that run or are stopped, whoever has started them. They are known by their command lines: a process that
 * got the id of one that ended has another.
 */
export function workersOf(database: string): WorkerProcess[] {
  return commandLines().flatMap((line) => {
    const [, pid, ledger, id = "", incarnation] = /^ *(\d+) .*worker\.ts (.+) (\S+) (\d+)$/.exec(line) ?? [];
    return ledger === database ? [{ id, incarnation: Number(incarnation), pid: Number(pid) }] : [];
  });
}

/** Of all processes, each behind its process id. */
function commandLines(): string[] {
  // macOS has no /proc, and small images of Linux have no `ps`.
  if (!existsSync("/proc/self/cmdline"))
    return execFileSync("ps", ["-A", "-ww", "-o", "pid=,args="], { encoding: "utf8" }).trim().split("\n");
  return readdirSync("/proc").flatMap((pid) => {
    try {
      return /^\d+$/.test(pid)
        ? [`${pid} ${readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim()}`]
        : [];
    } catch {
      // It ended while we were looking.
      return [];
    }
  });
}
