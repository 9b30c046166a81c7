import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { SHARDS } from "./feeds.ts";

/** What a poller tells whoever started it. */
export type PollerNews =
  | { readonly what: "holds"; readonly members: readonly string[]; readonly shards: readonly number[] }
  /** In the middle of a poll of this feed, by itself. */
  | { readonly what: "suspended"; readonly feed: string }
  | { readonly what: "refused"; readonly feed: string }
  | { readonly what: "failed"; readonly error: string };

/** A process of `poller.ts`. */
export interface Poller {
  readonly name: string;
  readonly pid: number;
  /** What it has told, the latest last. */
  readonly news: readonly PollerNews[];
  /** What it holds, as it says. */
  shards(): readonly number[];
  /** The pollers that it sees, itself included. */
  members(): readonly string[];
  signal(signal: NodeJS.Signals): void;
  /** Resolves once it is gone, with its exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
}

export interface PollerOptions {
  readonly name: string;
  readonly database: string;
  /** Of the server of the feeds. */
  readonly serverPort: number;
  /** The folder of the logs. */
  readonly logs: string;
}

const running = new Set<ChildProcess>();

/** Starts a poller. It ends by itself when this process is gone. */
export function startPoller({ name, database, serverPort, logs }: PollerOptions): Poller {
  const child = fork(new URL("poller.ts", import.meta.url), [name], {
    execArgv: ["--import", "tsx"],
    env: { ...process.env, DATABASE: database, SERVER_PORT: String(serverPort), LOGS: logs },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  running.add(child);
  const news: PollerNews[] = [];
  let held: PollerNews & { what: "holds" } = { what: "holds", members: [], shards: [] };
  child.on("message", (message: PollerNews) => {
    news.push(message);
    if (message.what === "holds") held = message;
  });
  const ended = once(child, "exit").then(([code, signal]) => {
    running.delete(child);
    return (code ?? signal) as number | NodeJS.Signals;
  });
  return {
    name,
    pid: child.pid as number,
    news,
    shards: () => held.shards,
    members: () => held.members,
    signal: (signal) => void child.kill(signal),
    ended,
  };
}

/** Whether these pollers see each other and nobody else, and hold all shards, each of them one's. */
export function areSettled(pollers: readonly Poller[]): boolean {
  const names = pollers.map(({ name }) => name).sort();
  if (!pollers.every((poller) => poller.members().join() === names.join())) return false;
  const held = pollers.flatMap((poller) => poller.shards());
  return held.length === SHARDS && new Set(held).size === SHARDS;
}

/** Ends at once whatever still runs, or is suspended. */
export function killPollers(): void {
  for (const child of running) child.kill("SIGKILL");
}
