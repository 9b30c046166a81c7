import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";

/** A process that runs or is stopped. */
export interface CommandLine {
  readonly pid: number;
  readonly line: string;
}

/** All processes of this machine. What has ended has no command line, also where its parent has not asked for its exit code. */
export function commandLines(): CommandLine[] {
  return existsSync("/proc/self/cmdline") ? fromProc() : fromPs();
}

function fromProc(): CommandLine[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const line = readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ").trim();
      return line === "" ? [] : [{ pid: Number(name), line }];
    } catch {
      // It ended while we were looking.
      return [];
    }
  });
}

/** Where there is no /proc, as on macOS. */
function fromPs(): CommandLine[] {
  const listed = execFileSync("ps", ["-A", "-ww", "-o", "pid=,args="], { encoding: "utf8", maxBuffer: 2 ** 26 });
  return listed.split("\n").flatMap((text) => {
    const [, pid, line] = /^ *(\d+) (.+)$/.exec(text) ?? [];
    return line === undefined ? [] : [{ pid: Number(pid), line }];
  });
}

/** Sends a signal to a process that may have ended. */
export function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
