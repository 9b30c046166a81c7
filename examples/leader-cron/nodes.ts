import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** A process of `node.ts`. */
export interface NodeProcess {
  readonly name: string;
  readonly pid: number;
  signal(signal: NodeJS.Signals): void;
  /** Resolves once it is gone, with its exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
}

export interface NodeOptions {
  readonly name: string;
  readonly database: string;
  readonly archiveUrl: string;
  readonly everyMs: number;
  /** When the job was set up, in epoch milliseconds. */
  readonly since: number;
  /** Gets each line that it prints. */
  readonly onLine: (line: string) => void;
}

const running = new Set<ChildProcess>();

/** Starts a node. It ends by itself when this process is gone. */
export function startNode({ name, database, archiveUrl, everyMs, since, onLine }: NodeOptions): NodeProcess {
  const child = fork(new URL("node.ts", import.meta.url), [name], {
    execArgv: ["--import", "tsx"],
    env: {
      ...process.env,
      DATABASE: database,
      ARCHIVE_URL: archiveUrl,
      EVERY_MS: String(everyMs),
      SINCE: String(since),
    },
    stdio: ["ignore", "pipe", "inherit", "ipc"],
  });
  running.add(child);
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on("line", onLine);
  // By then all that it has printed was read.
  const ended = once(child, "close").then(([code, signal]) => {
    running.delete(child);
    return (code ?? signal) as number | NodeJS.Signals;
  });
  return { name, pid: child.pid as number, signal: (signal) => void child.kill(signal), ended };
}

/** Ends at once whatever still runs, or is suspended. */
export function killNodes(): void {
  for (const child of running) child.kill("SIGKILL");
}
