import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";

/** The processes that this one has started and that still live, without theirs. */
export function childrenOf(pid: number): number[] {
  return processes()
    .filter((entry) => entry.parent === pid && entry.alive)
    .map((entry) => entry.pid);
}

/** Whether a process runs or is stopped. One that ended and whose parent hasn't asked for its exit code is not alive. */
export function isAlive(pid: number): boolean {
  return processes().some((entry) => entry.pid === pid && entry.alive);
}

/** Sends a signal to a process that may be gone. */
export function signalIfAlive(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  readonly alive: boolean;
}

function processes(): ProcessEntry[] {
  // Small images of Linux have no `ps`, and macOS has no /proc.
  if (!existsSync("/proc/self/stat")) {
    return execFileSync("ps", ["-A", "-o", "pid=,ppid=,stat="], { encoding: "utf8" })
      .trim()
      .split("\n")
      .map((line) => toEntry(...(line.trim().split(/\s+/) as [string, string, string])));
  }
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      // The program's name comes second, in parentheses, and may hold spaces and parentheses itself.
      const [state = "", parent = ""] = readFileSync(`/proc/${name}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
      return [toEntry(name, parent, state)];
    } catch {
      // It ended while we were looking.
      return [];
    }
  });
}

function toEntry(pid: string, parent: string, state: string): ProcessEntry {
  return { pid: Number(pid), parent: Number(parent), alive: !state.startsWith("Z") };
}
