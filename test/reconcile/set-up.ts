import { type EvenkeelEvent, NotFound, Reconciler, type ReconcilerOptions, ResourceLedger } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { type FaultPlan, faultyStore, ManualClock, seededRandom } from "evenkeel/testing";
import { afterEach, expect } from "vitest";

/** An API that makes things, and honours idempotency keys. */
export interface FakeFleet {
  /** What is running, by its external id. */
  readonly running: Map<string, { readonly id: string; readonly incarnation: number }>;
  /** The key of each call of `create` that made something. */
  readonly created: string[];
  /** The external ids of those that were ended. */
  readonly terminated: string[];
  /** All calls, in their order: `create web-0/1`. */
  readonly calls: string[];
  ids(): string[];
  readonly callbacks: Pick<ReconcilerOptions, "create" | "terminate">;
}

export function fakeFleet(): FakeFleet {
  const running: FakeFleet["running"] = new Map();
  const made = new Map<string, string>();
  const created: string[] = [];
  const terminated: string[] = [];
  const calls: string[] = [];
  return {
    running,
    created,
    terminated,
    calls,
    ids: () => [...running.values()].map(({ id }) => id).sort(),
    callbacks: {
      async create({ id, incarnation }, { idempotencyKey }) {
        calls.push(`create ${id}/${incarnation}`);
        const externalId = made.get(idempotencyKey) ?? `x${made.size + 1}`;
        if (!made.has(idempotencyKey)) {
          made.set(idempotencyKey, externalId);
          created.push(idempotencyKey);
          running.set(externalId, { id, incarnation });
        }
        return { externalId };
      },
      async terminate({ id, incarnation, externalId = "" }) {
        calls.push(`terminate ${id}/${incarnation}`);
        if (!running.delete(externalId)) throw new NotFound();
        terminated.push(externalId);
      },
    },
  };
}

const clocks: ManualClock[] = [];

// Whatever a test did, no timer may be left.
afterEach(() => {
  for (const clock of clocks.splice(0)) expect(clock.pendingTimers).toBe(0);
});

/** A reconciler over a memory store and a fake fleet, on a clock that stands still. */
export function setUpReconciler(options: Partial<ReconcilerOptions> = {}, faults: FaultPlan = {}) {
  const clock = new ManualClock();
  clocks.push(clock);
  const calls: string[] = [];
  const store = faultyStore(memoryStore({ clock }), {
    clock,
    ...faults,
    onCall: (call) => {
      calls.push(call.operation);
      faults.onCall?.(call);
    },
  });
  const fleet = fakeFleet();
  const events: EvenkeelEvent[] = [];
  const reconciler = new Reconciler({
    name: "web",
    store,
    clock,
    random: seededRandom(1),
    onEvent: (event) => events.push(event),
    ...fleet.callbacks,
    ...options,
  });
  const ledger = new ResourceLedger({ store, group: "web", clock });
  return { clock, store, storeCalls: calls, fleet, events, reconciler, ledger };
}
