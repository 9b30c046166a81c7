import { memoryStore } from "evenkeel/memory";
import { CallLog, type FaultPlan, faultyStore, ManualClock, seededRandom } from "evenkeel/testing";
import { afterEach, expect } from "vitest";
import { ResourceLedger, type ResourceLedgerOptions } from "../../src/resources/resource-ledger.ts";
import type { ResourceRow, ResourceStore, ResourceWrite, StoreCall } from "../../src/store.ts";

export const CALL: StoreCall = { timeoutMs: 1_000 };
export const GROUP = "workers";

const clocks: ManualClock[] = [];

// Whatever a test did, no timer of it may be left.
afterEach(() => {
  for (const clock of clocks.splice(0)) expect(clock.pendingTimers).toBe(0);
});

/** A memory store behind faults, with its clock and its calls; checked for leaks after the test. */
export function setUp(plan: FaultPlan = {}, change: (inner: ResourceStore) => Partial<ResourceStore> = () => ({})) {
  const clock = new ManualClock();
  clocks.push(clock);
  const inner = memoryStore({ clock });
  const changed = { ...inner, resources: { ...inner.resources, ...change(inner.resources) } };
  const log = new CallLog();
  const store = faultyStore(changed, {
    clock,
    ...plan,
    onCall: (call) => {
      log.onCall(call);
      plan.onCall?.(call);
    },
  });
  let processes = 0;

  /** The ledger of one process. Each has its own chance, so that no two make one nonce. */
  function ledger<Spec = unknown>(options: Partial<ResourceLedgerOptions> = {}): ResourceLedger<Spec> {
    processes += 1;
    return new ResourceLedger<Spec>({ store, group: GROUP, clock, random: seededRandom(processes), ...options });
  }

  /** A write that goes past the ledger, as of a reconciler with this epoch. It has to be applied. */
  async function write(write: Partial<ResourceWrite>, epoch = 0): Promise<ResourceRow> {
    processes += 1;
    const full = { kind: "create", id: "a", after: 0, state: "PENDING", generation: 0, attempt: 1, ...write };
    const named = { nonce: `past-${processes}`, ...full } as ResourceWrite;
    const result = await inner.resources.apply({ group: GROUP, epoch, writes: [named] }, CALL);
    const [first] = result.status === "decided" ? result.results : [];
    if (first?.status !== "applied") throw new Error(`the write was not applied: ${JSON.stringify(result)}`);
    return first.row;
  }

  /** Makes something else of a row, past the ledger. */
  function changeTo(row: ResourceRow, state: ResourceRow["state"], epoch = 0): Promise<ResourceRow> {
    const { id, incarnation, version: expectedVersion } = row;
    return write({ kind: "update", id, incarnation, expectedVersion, state }, epoch);
  }

  const row = (id = "a") => inner.resources.get(GROUP, id, CALL);
  return { clock, inner, store, log, ledger, write, changeTo, row };
}

/** What a promise rejects with. */
export async function thrownBy(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => {
      throw new Error(`it resolved with ${JSON.stringify(value)}`);
    },
    (error: unknown) => error,
  );
}

/** A promise that a test settles. */
export function deferred<T = void>() {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((pass) => {
    resolve = pass;
  });
  return { promise, resolve };
}
