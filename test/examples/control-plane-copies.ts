import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { TestContext } from "vitest";
import { commandLinesOf } from "../../examples/control-plane/processes.ts";
import type { GroupAnswer, StateAnswer } from "../../examples/control-plane/routes/state.ts";
import { signalIfAlive } from "../support/child-processes.ts";
import { newFolder } from "../support/run-folder.ts";

/** The longest test takes 30 s where there is nothing else to do. Each starts programs that compile themselves first. */
export const TEST_PATIENCE_MS = 400_000;
const WAIT_PATIENCE_MS = 150_000;

/** Waits until a condition holds. One that throws does not hold. For processes, whose starts take long on a busy machine. */
export async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  let last: unknown;
  for (const deadline = performance.now() + WAIT_PATIENCE_MS; performance.now() < deadline; await sleep(50)) {
    try {
      if (await holds()) return;
      last = undefined;
    } catch (error) {
      last = error;
    }
  }
  throw new Error(`it never came about that ${what}`, { cause: last });
}

export const CWD = fileURLToPath(new URL("../../examples/control-plane", import.meta.url));

/** Of the test itself: several may run at once. */
type OnFinished = TestContext["onTestFinished"];

/** A line of the workers' log. */
export interface WorkerEvent {
  readonly event: "started" | "refused" | "ended";
  readonly id: string;
  readonly incarnation: number;
  readonly pid: number;
  readonly why?: string;
}

/** A copy of the control plane, as a process. */
export interface Copy {
  readonly name: string;
  readonly url: string;
  readonly process: ChildProcess;
  printed(): string;
  state(): Promise<State>;
  ask(method: string, path: string, body?: unknown, key?: string): Promise<{ status: number; text: string }>;
  /** Ends it. @returns its exit code. */
  stop(signal: NodeJS.Signals): Promise<number | null>;
}

/** What `GET /state` says of the first group, and who leads. */
export interface State extends Pick<StateAnswer, "leader"> {
  readonly group: GroupAnswer;
}

/** Copies of one control plane, and their workers. All of them, and the folder, are gone when the test is finished. */
export async function controlPlane(onFinished: OnFinished, store?: string, prefix?: string) {
  const folder = await newFolder("control-plane");
  const ledger = store ?? `sqlite:${join(folder, "ledger.db")}`;
  // Where there is a file, its workers are beside it.
  const workers = store === undefined ? join(folder, "ledger.db.workers") : join(folder, "workers");
  const copies: Copy[] = [];

  function events(): WorkerEvent[] {
    const log = join(workers, "log.jsonl");
    // No worker has been started yet.
    if (!existsSync(log)) return [];
    return readFileSync(log, "utf8")
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as WorkerEvent);
  }

  /** The workers that run or are stopped, by the process list alone: `id#incarnation`, and the process id. */
  function living(): Map<string, number> {
    const started = events().filter(({ event }) => event === "started");
    const lines = commandLinesOf(started.map(({ pid }) => pid));
    return new Map(
      started
        .filter(({ pid, id, incarnation }) => lines.get(pid)?.includes(` ${workers} worker ${id} ${incarnation} `))
        .map(({ pid, id, incarnation }) => [`${id}#${incarnation}`, pid]),
    );
  }

  onFinished(async () => {
    // Copies first, so that they replace none of the others.
    for (const copy of copies) if (!hasEnded(copy.process)) await copy.stop("SIGKILL");
    await until("no worker is left", () => {
      for (const pid of living().values()) signalIfAlive(pid, "SIGKILL");
      return living().size === 0;
    }).catch(() => {});
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  });

  return {
    folder,
    workers,
    events,
    living,

    async start(name: string, ...args: string[]): Promise<Copy> {
      const where = ["--store", ledger, "--port", "0", "--name", name];
      if (store !== undefined) where.push("--workers", workers);
      if (prefix !== undefined) where.push("--prefix", prefix);
      const copy = await startCopy(name, [...where, ...args]);
      copies.push(copy);
      return copy;
    },
  };
}

export type ControlPlane = Awaited<ReturnType<typeof controlPlane>>;

async function startCopy(name: string, args: readonly string[]): Promise<Copy> {
  const server = spawn(process.execPath, ["--import", "tsx", "server.ts", ...args], {
    cwd: CWD,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let printed = "";
  for (const output of [server.stdout, server.stderr])
    output.on("data", (chunk) => {
      printed += chunk;
    });
  await until(`${name} answers`, () => hasEnded(server) || /^control plane on http\S+$/m.test(printed));
  const [, url] = /^control plane on (http\S+)$/m.exec(printed) ?? [];
  if (url === undefined) throw new Error(`${name} ended: ${printed}`);

  return {
    name,
    url,
    process: server,
    printed: () => printed,
    async state() {
      const response = await fetch(`${url}/state`);
      if (response.status !== 200) throw new Error(await response.text());
      const { leader, groups } = (await response.json()) as StateAnswer;
      return { leader, group: groups[0] as GroupAnswer };
    },
    async ask(method, path, body, key) {
      const response = await fetch(`${url}${path}`, {
        method,
        headers: {
          ...(body === undefined ? {} : { "Content-Type": "application/json" }),
          ...(key === undefined ? {} : { "Idempotency-Key": key }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return { status: response.status, text: await response.text() };
    },
    async stop(signal) {
      const ended = once(server, "exit");
      server.kill(signal);
      return (await ended)[0] as number | null;
    },
  };
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

/** Waits until a copy says that there are so many workers, as desired, and the process list bears it out. */
export async function untilConverged(plane: ControlPlane, copy: Copy, count: number): Promise<State> {
  let state: State | undefined;
  await until(`${count} workers are there, as ${copy.name} says`, async () => {
    state = await copy.state();
    const { converged, desired, resources } = state.group;
    const told = resources.map(({ id, incarnation, externalId }) => `${id}#${incarnation} ${externalId}`).sort();
    const found = [...plane.living()].map(([name, pid]) => `${name} ${pid}`).sort();
    return converged && desired === count && told.length === count && told.join() === found.join();
  });
  return state as State;
}

/** Incarnations that were started more often than once. */
export function startedTwice(events: readonly WorkerEvent[]): string[] {
  const started = events
    .filter(({ event }) => event === "started")
    .map(({ id, incarnation }) => `${id}#${incarnation}`);
  return started.filter((name, index) => started.indexOf(name) !== index);
}
