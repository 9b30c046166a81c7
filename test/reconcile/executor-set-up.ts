import { memoryStore } from "evenkeel/memory";
import { CallLog, type FaultPlan, faultyStore, ManualClock, seededRandom } from "evenkeel/testing";
import { afterEach, expect } from "vitest";
import { Executor } from "../../src/reconcile/executor.ts";
import type { ExecutorTerms } from "../../src/reconcile/executor-terms.ts";
import type { Step, StepOutcome } from "../../src/reconcile/step.ts";
import type { ActionContext, ResourceRecord } from "../../src/resources/resource.ts";
import type { LedgerStore, ResourceRow, StoreCall, UpdateResource } from "../../src/store.ts";

export const CALL: StoreCall = { timeoutMs: 1_000 };
export const GROUP = "web";
export const LEASE_MS = 30_000;

const clocks: ManualClock[] = [];

// Whatever a test did, no timer of it may be left.
afterEach(() => {
  for (const clock of clocks.splice(0)) expect(clock.pendingTimers).toBe(0);
});

/** One call of a callback. */
export interface Called {
  readonly action: string;
  readonly resource: ResourceRecord<unknown>;
  readonly context: ActionContext;
}

/** A memory store with its clock, what was called, and executors over it, each a process of its own. */
export function setUp() {
  const clock = new ManualClock();
  clocks.push(clock);
  const ledger = memoryStore({ clock });
  const calls: Called[] = [];
  const outcomes: StepOutcome[] = [];
  let processes = 0;

  const calling =
    (action: string, answer: unknown = undefined) =>
    (resource: ResourceRecord<unknown>, context: ActionContext): unknown => {
      calls.push({ action, resource, context });
      return typeof answer === "function" ? answer(resource, context) : answer;
    };

  type Answers = Partial<Record<"create" | "terminate" | "forceTerminate" | "update", unknown>>;

  /** An executor in a process of its own. `answers`: what the callbacks do, a function or a value to return. */
  function process(answers: Answers = {}, options: Partial<ExecutorTerms<unknown>> & { plan?: FaultPlan } = {}) {
    processes += 1;
    const log = new CallLog();
    const { plan = {}, ...terms } = options;
    const store: LedgerStore = faultyStore(ledger, {
      clock,
      ...plan,
      onCall: (call) => {
        log.onCall(call);
        plan.onCall?.(call);
      },
    });
    const executor = new Executor<unknown>({
      store,
      group: GROUP,
      clock,
      random: seededRandom(processes),
      callbacks: {
        create: calling("create", "create" in answers ? answers.create : { externalId: "vm-1" }),
        terminate: calling("terminate", answers.terminate),
        ...("forceTerminate" in answers ? { forceTerminate: calling("forceTerminate", answers.forceTerminate) } : {}),
        update: calling("update", answers.update),
      },
      leaseMs: LEASE_MS,
      actionTimeoutMs: 30_000,
      terminateGraceMs: 30_000,
      concurrency: 10,
      storeTimeoutMs: 5_000,
      ownObserve: false,
      gate: { epoch: () => 0, isAllowed: () => true },
      onOutcome: (outcome) => outcomes.push(outcome),
      ...terms,
    });
    const run = (...steps: Step[]): Promise<StepOutcome[]> => executor.execute(steps, { mayBegin: () => true });
    return { executor, run, log, store };
  }

  const rows = (): Promise<ResourceRow[]> => ledger.resources.list({ group: GROUP, limit: 1_000 }, CALL);

  /** The row of an incarnation, the newest by default. */
  async function row(id = "a", incarnation?: number): Promise<ResourceRow> {
    const found = (await rows()).filter((each) => each.id === id);
    const wanted = incarnation === undefined ? found.at(-1) : found.find((each) => each.incarnation === incarnation);
    if (wanted === undefined) throw new Error(`There is no row of ${id}.`);
    return wanted;
  }

  let nonces = 0;
  function nonce(): string {
    nonces += 1;
    return `test-${nonces}`;
  }

  /** Another writer's change to a row. */
  async function write(before: ResourceRow, change: Partial<UpdateResource>, epoch = 0): Promise<ResourceRow> {
    const { id, incarnation, version, state, spec, externalId, generation, reason, attempt } = before;
    const kept = { id, incarnation, state, spec, externalId, generation, reason, attempt };
    const update = { kind: "update", expectedVersion: version, nonce: nonce(), ...kept, ...change } as UpdateResource;
    const result = await ledger.resources.apply({ group: GROUP, epoch, writes: [update] }, CALL);
    if (result.status !== "decided" || result.results[0]?.status !== "applied") throw new Error("It was not applied.");
    return result.results[0].row;
  }

  /** A row that is there before the test begins. */
  async function seed(
    state: ResourceRow["state"],
    change: Partial<UpdateResource> = {},
    id = "a",
  ): Promise<ResourceRow> {
    const newest = await ledger.resources.get(GROUP, id, CALL);
    const fields = { id, generation: 1, attempt: 1, reason: "Missing", nonce: nonce() };
    const first = { kind: "create", after: newest?.incarnation ?? 0, state: "PENDING", ...fields } as const;
    await ledger.resources.apply({ group: GROUP, epoch: 0, writes: [first] }, CALL);
    let made = await row(id);
    const path = {
      PENDING: ["PENDING"],
      PROVISIONED: ["PROVISIONED"],
      FAILED: ["PROVISIONED", "FAILED"],
      TERMINATING: ["PROVISIONED", "TERMINATING"],
      TERMINATED: ["PROVISIONED", "TERMINATED"],
    } as const;
    for (const next of path[state]) made = await write(made, { state: next, externalId: `vm-of-${id}`, ...change });
    return made;
  }

  return { clock, ledger, calls, outcomes, process, rows, row, write, seed };
}

/** The next incarnation is made. */
export function createStep(id = "a", change: object = {}): Step {
  const base = { type: "create", how: "next", id, incarnation: 1, reason: "Missing", after: 0, generation: 1 };
  return { ...base, ...change } as Step;
}

export function againStep(row: ResourceRow): Step {
  return { type: "create", how: "again", id: row.id, incarnation: row.incarnation, reason: "Missing", row };
}

export function replaceStep(row: ResourceRow, change: object = {}): Step {
  return createStep(row.id, { type: "replace", incarnation: row.incarnation + 1, after: row.incarnation, ...change });
}

export function updateStep(row: ResourceRow, spec: string, generation: number): Step {
  return { type: "update", id: row.id, incarnation: row.incarnation, reason: "SpecChanged", row, spec, generation };
}

export function terminateStep(row: ResourceRow, change: object = {}): Step {
  const { id, incarnation } = row;
  return { type: "terminate", id, incarnation, reason: "Surplus", row, again: false, ...change } as Step;
}

export function failStep(row: ResourceRow, change: object = {}): Step {
  return { type: "fail", id: row.id, incarnation: row.incarnation, reason: "HeartbeatStale", row, ...change } as Step;
}

export function dropStep(row: ResourceRow): Step {
  return { type: "drop", id: row.id, incarnation: row.incarnation, reason: "NotObserved", row };
}

/** A promise that the test settles. */
export function deferred<T = void>() {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((onValue, onError) => {
    resolve = onValue;
    reject = onError;
  });
  return { promise, resolve, reject };
}

/** Never settles. */
export function never(): Promise<never> {
  return new Promise(() => {});
}
