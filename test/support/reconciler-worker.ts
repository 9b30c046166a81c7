import { type DesiredResource, fixedThreshold, type LedgerStore, Reconciler, ResourceLedger } from "../../src/index.ts";
import { openLedger } from "./open-ledger.ts";
import { folderCallbacks } from "./reconciler-folder.ts";
import { serve } from "./workers.ts";

/** One process that reconciles a group of a ledger, with a folder for the outside world. It may kill itself at any of its awaits. */
const [, , url = "", folder = "", optionsText = "{}"] = process.argv;

/** How a worker reconciles. */
export interface WorkerOptions {
  readonly actionTimeoutMs?: number;
  readonly staleAfterMs?: number;
  readonly resyncIntervalMs?: number;
  readonly storeTimeoutMs?: number;
  /** How long each callback takes after its effect, in milliseconds. Defaults to 0. */
  readonly workMs?: number;
  /** At which await of its passes it kills itself, from 1. Defaults to never. */
  readonly dieAt?: number;
}

/** What a worker is asked to do. */
export type WorkerRequest =
  | { readonly do: "desire"; readonly desired: number | DesiredResource<number>[] }
  | { readonly do: "reconcile"; readonly passes?: number }
  | { readonly do: "start" | "stop" | "status" | "failedPasses" }
  | { readonly do: "beat"; readonly id: string; readonly incarnation: number };

/** What became of passes. */
export interface PassAnswer {
  readonly converged: boolean;
  /** `create web-0/1 done`, of all passes. */
  readonly actions: readonly string[];
  /** How many awaits there were at which it could have died. */
  readonly awaits: number;
}

const options: WorkerOptions = JSON.parse(optionsText);
const { actionTimeoutMs = 30_000, staleAfterMs = 30_000, resyncIntervalMs = 30_000 } = options;
const { storeTimeoutMs = Math.min(5_000, actionTimeoutMs) } = options;
const ledger = await openLedger(url);
let awaits = 0;
let failedPasses = 0;

const reconciler = new Reconciler<number>({
  name: "web",
  store: mortalStore(ledger.store),
  ...folderCallbacks(folder, {
    begin: pass,
    end: pass,
    returned: () => {
      // Once the executor has what the callback returned.
      if (isLast()) setImmediate(die);
    },
    workMs: options.workMs ?? 0,
  }),
  actionTimeoutMs,
  staleness: fixedThreshold({ staleAfterMs, startupGraceMs: staleAfterMs }),
  massGuard: false,
  resyncIntervalMs,
  storeTimeoutMs,
  onEvent: ({ type }) => {
    if (type === "pass_failed") failedPasses += 1;
  },
});
const beats = new ResourceLedger<number>({ store: ledger.store, group: "web" });

serve(async (request: WorkerRequest): Promise<unknown> => {
  switch (request.do) {
    case "desire":
      return reconciler.setDesired(request.desired);
    case "reconcile":
      return reconcile(request.passes ?? 1);
    case "start":
      return reconciler.start();
    case "stop":
      return reconciler.stop();
    case "status":
      return reconciler.status();
    case "failedPasses":
      return failedPasses;
    case "beat":
      return beats.heartbeat(request.id, { incarnation: request.incarnation });
  }
});

async function reconcile(passes: number): Promise<PassAnswer> {
  const actions: string[] = [];
  let converged = false;
  for (let n = 0; n < passes; n += 1) {
    const report = await reconciler.reconcile();
    converged = report.converged;
    for (const { type, id, incarnation, result } of report.actions)
      actions.push(`${type} ${id}/${incarnation} ${result}`);
  }
  return { converged, actions, awaits };
}

/** Every call may be the last: before it is sent, once it was answered, and a write also on its way. */
function mortalStore(inner: LedgerStore): LedgerStore {
  const resources = Object.create(inner.resources) as Record<string, unknown>;
  for (const name of ["getDesired", "apply", "list", "changedSince", "staleBefore"] as const) {
    const operation = inner.resources[name].bind(inner.resources) as (...args: unknown[]) => Promise<unknown>;
    resources[name] = async (...args: unknown[]): Promise<unknown> => {
      pass();
      const answer = operation(...args);
      if (name === "apply" && isLast()) {
        answer.catch(() => {});
        // Drivers write at the end of the turn: nobody learns whether it arrived.
        setImmediate(die);
        return new Promise(() => {});
      }
      const result = await answer;
      pass();
      return result;
    };
  }
  return { ...inner, resources: resources as unknown as LedgerStore["resources"] };
}

function pass(): void {
  if (isLast()) die();
}

function isLast(): boolean {
  awaits += 1;
  return awaits === options.dieAt;
}

function die(): never {
  process.kill(process.pid, "SIGKILL");
  // The signal takes effect at once; nothing after it may.
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
}
