import { fork } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { type EvenkeelEvent, fixedThreshold, NotFound, Reconciler } from "evenkeel";
import { sqliteStore } from "evenkeel/sqlite";
import { type WorkerProcess, workersOf } from "./processes.ts";

const { DESIRED = "10", STALE_MS = "5000" } = process.env;
const STALE_AFTER_MS = Number(STALE_MS);
const DATABASE = resolve(process.env["DATABASE"] ?? "pool.db");
const store = sqliteStore(DATABASE);

const pool = new Reconciler({
  name: "worker",
  store,
  observe: () => workersOf(DATABASE),

  async create({ id, incarnation }) {
    // A pool that died over it may have come as far as this.
    const found = find({ id, incarnation });
    if (found !== undefined) return { externalId: String(found.pid) };
    const child = fork(new URL("worker.ts", import.meta.url), [DATABASE, id, String(incarnation)], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    // Nobody has to wait until the heartbeats are missed.
    child.once("exit", (code, signal) => {
      console.log(`${id}#${incarnation} (process ${child.pid}) has ended with ${signal ?? code}`);
      pool.wake(id);
    });
    await once(child, "spawn");
    return { externalId: String(child.pid) };
  },

  terminate: async (worker) => send(worker, "SIGTERM"),
  forceTerminate: async (worker) => send(worker, "SIGKILL"),

  // All of it shorter than one would have it, so that there is something to watch.
  staleness: fixedThreshold({ staleAfterMs: STALE_AFTER_MS, startupGraceMs: 3 * STALE_AFTER_MS }),
  terminateGraceMs: 3_000,
  // What there is on this machine is known at once.
  observeGraceMs: 1_000,
  actionTimeoutMs: 5_000,
  // For the workers of a pool that crashed, whose end nobody tells us.
  resyncIntervalMs: 5_000,
  onEvent: report,
});

function find(worker: Pick<WorkerProcess, "id" | "incarnation">): WorkerProcess | undefined {
  return workersOf(DATABASE).find(({ id, incarnation }) => id === worker.id && incarnation === worker.incarnation);
}

function send(worker: Pick<WorkerProcess, "id" | "incarnation">, signal: NodeJS.Signals): void {
  const found = find(worker);
  if (found === undefined) throw new NotFound();
  process.kill(found.pid, signal);
}

function report(event: EvenkeelEvent): void {
  if (event.type === "action_finished") {
    const { action, id, incarnation, reason, result, error } = event;
    console.log(`${action} ${id}#${incarnation} (${reason}): ${result}${error === undefined ? "" : `, ${error}`}`);
  } else if (event.type === "condition_changed") {
    console.log(`${event.condition}: ${event.status} (${event.reason})`);
  } else if (event.type === "answer_unknown" || event.type === "pass_failed") {
    console.log(`${event.type}: ${event.error}`);
  }
}

/** What can be done to a worker from here; see the README. */
const SIGNALS: ReadonlyMap<string, NodeJS.Signals> = new Map([
  ["kill", "SIGKILL"],
  ["freeze", "SIGTSTP"],
  ["thaw", "SIGCONT"],
  ["deafen", "SIGUSR2"],
]);

async function command(line: string): Promise<void> {
  const [verb = "", object = ""] = line.trim().split(/\s+/);
  const signal = SIGNALS.get(verb);
  if (verb === "desired") {
    await pool.setDesired(Number.parseFloat(object));
  } else if (verb === "status") {
    const { desired, observed, drift, converged } = await pool.status();
    console.log(JSON.stringify({ desired, observed, drift, converged }));
    for (const { id, incarnation, pid } of workersOf(DATABASE)) console.log(`  ${id}#${incarnation} is process ${pid}`);
  } else if (verb === "explain") {
    for (const { at, action, outcome, reason } of await pool.explain(object))
      console.log(`  ${new Date(at).toISOString()} ${action}: ${outcome} (${reason})`);
  } else if (signal !== undefined) {
    const newest = workersOf(DATABASE)
      .sort((a, b) => b.incarnation - a.incarnation)
      .find(({ id }) => id === object);
    if (newest !== undefined) process.kill(newest.pid, signal);
    else console.log(`There is no ${object}.`);
  } else if (verb === "quit") {
    lines.close();
  } else {
    console.log("desired N | status | explain ID | kill ID | freeze ID | thaw ID | deafen ID | quit");
  }
}

/** Ends all workers as it ends any: gracefully, and then not. */
async function quit(): Promise<void> {
  await pool.setDesired(0);
  while (!(await pool.status()).converged) await sleep(50);
  await pool.stop();
  await store.close();
}

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => void command(line).catch((error: Error) => console.log(error.message)));
lines.once("close", () => void quit());
// The second Ctrl-C ends the pool at once. Its workers see that it is gone, and end too.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => lines.close());

await pool.setDesired(Number.parseFloat(DESIRED));
pool.start();
console.log(`Pool ${process.pid} of ${DESIRED} workers, ledger in ${DATABASE}. Type help, or kill -9 one of them.`);
