import { type EvenkeelEvent, type ExecutionContext, type IdempotencyOptions, withIdempotency } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { CallLog, type FaultPlan, faultyStore, ManualClock, Partition, seededRandom } from "evenkeel/testing";
import { afterEach, expect } from "vitest";
import { recordId } from "../../src/idempotency/key.ts";
import type { ExecutionStore, LedgerStore, StoreCall } from "../../src/store.ts";

export const CALL: StoreCall = { timeoutMs: 1_000 };

interface Footprint {
  readonly clock: ManualClock;
  watchers: number;
}

const footprints: Footprint[] = [];

// Whatever a test did, nothing of it may be left: no timer, no watcher.
afterEach(() => {
  for (const { clock, watchers } of footprints.splice(0)) {
    expect({ timers: clock.pendingTimers, watchers }).toEqual({ timers: 0, watchers: 0 });
  }
});

/** A memory store behind faults, with its clock, its calls and the events; checked for leaks after the test. */
export function setUp(plan: FaultPlan = {}, change: (inner: ExecutionStore) => Partial<ExecutionStore> = () => ({})) {
  const clock = new ManualClock();
  const footprint: Footprint = { clock, watchers: 0 };
  footprints.push(footprint);
  const inner = memoryStore({ clock });
  const { watch } = inner.executions;
  const executions: ExecutionStore = {
    ...inner.executions,
    watch: (id, wake) => {
      footprint.watchers += 1;
      const end = watch?.(id, wake);
      let ended = false;
      return () => {
        if (!ended) footprint.watchers -= 1;
        ended = true;
        end?.();
      };
    },
  };
  const log = new CallLog();
  const events: EvenkeelEvent[] = [];
  const changed: LedgerStore = { ...inner, executions: { ...executions, ...change(executions) } };
  const store = faultyStore(changed, {
    clock,
    ...plan,
    onCall: (call) => {
      log.onCall(call);
      plan.onCall?.(call);
    },
  });
  const random = seededRandom(1);
  /** Each process has its own chance, so that no two make one nonce. */
  let processes = 1;
  const ownRandom = () => {
    processes += 1;
    return seededRandom(processes);
  };

  /** `fn` under the operation "charge", the key "order-17" unless the call says otherwise. */
  function once<I, O>(
    fn: (input: I, ctx: ExecutionContext) => O | Promise<O>,
    options: Partial<IdempotencyOptions<I, O>> = {},
  ) {
    return withIdempotency<I, O>(fn, {
      store,
      operation: "charge",
      key: () => "order-17",
      clock,
      random,
      onEvent: (event) => events.push(event),
      ...options,
    });
  }

  /** The same in another process, with a good network and no events. */
  function rival<I, O>(
    fn: (input: I, ctx: ExecutionContext) => O | Promise<O>,
    options: Partial<IdempotencyOptions<I, O>> = {},
  ) {
    const other = { ...inner };
    return withIdempotency<I, O>(fn, {
      store: other,
      operation: "charge",
      key: () => "order-17",
      clock,
      random: ownRandom(),
      ...options,
    });
  }

  /** A process that claims the key, does some work and dies. Its lease has lapsed when this resolves. */
  async function crash<I = undefined>(
    work: (ctx: ExecutionContext) => void | Promise<void> = () => {},
    input: I = undefined as I,
    options: Partial<IdempotencyOptions<I, unknown>> = {},
  ): Promise<void> {
    const partition = new Partition();
    const doomed = rival<I, unknown>(
      async (_input, ctx) => {
        await work(ctx);
        return new Promise(() => {});
      },
      { store: faultyStore(inner, { clock, partition }), ...options },
    );
    void doomed(input);
    await clock.advance(0);
    partition.cut("both");
    await clock.advance(options.leaseMs ?? 30_000);
  }

  return {
    rival,
    crash,
    clock,
    inner,
    store,
    log,
    events,
    once,
    types: () => events.map(({ type }) => type),
    eventsOf: <T extends EvenkeelEvent["type"]>(type: T) =>
      events.filter((event): event is Extract<EvenkeelEvent, { type: T }> => event.type === type),
    /** The one record that there is. */
    record: async () => (await inner.executions.list({ limit: 10 }, CALL))[0],
  };
}

/** What came of a promise so far. */
export interface Watched<T> {
  state: "pending" | "fulfilled" | "rejected";
  value?: T;
  error?: unknown;
}

/** Looks at a promise without waiting for it; its rejection counts as handled. */
export function watch<T>(promise: Promise<T>): Watched<T> {
  const watched: Watched<T> = { state: "pending" };
  promise.then(
    (value) => Object.assign(watched, { state: "fulfilled", value }),
    (error: unknown) => Object.assign(watched, { state: "rejected", error }),
  );
  return watched;
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

/** What a rejected call threw. */
export async function thrownBy(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => {
      throw new Error(`The call succeeded with ${String(value)}.`);
    },
    (error: unknown) => error,
  );
}

/** Claims the usual record as a process that is gone: nobody renews it. */
export async function claimAsDead(store: LedgerStore, leaseMs: number): Promise<string> {
  const id = recordId("charge", "", "order-17");
  const request = { id, operation: "charge", scope: "", nonce: "dead", leaseMs, retentionMs: 60_000 };
  await store.executions.claim({ ...request, onAbandoned: "takeover" }, CALL);
  return id;
}
