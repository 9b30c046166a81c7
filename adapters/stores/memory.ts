import { type Clock, systemClock } from "../../src/clock.ts";
import { EvenkeelError } from "../../src/errors.ts";
import {
  compareRecency,
  type Decision,
  decideClaim,
  decideComplete,
  decideRelease,
  decideRenew,
  decideSeize,
  decideStep,
  type ExecutionRecord,
  viewOf,
} from "../../src/execution-record.ts";
import { acceptOptions, type OptionRules, rules } from "../../src/option-rules.ts";
import type { ExecutionStore, ExecutionView, LedgerStore, StepRecord } from "../../src/store.ts";
import { memoryLeases } from "./memory-leases.ts";
import { memoryResources } from "./memory-resources.ts";
import { Watchers } from "./watchers.ts";

export interface MemoryStoreOptions {
  /** The store's clock. Defaults to the machine's. */
  readonly clock?: Clock;
  /**
   * How many records of executions are kept at most; a claim over it is refused with `STORE_UNAVAILABLE`. Resources don't
   * count: there are as many as the user runs, and strangers who invent keys can't make more. Defaults to 100,000.
   */
  readonly maxEntries?: number;
  /** Whether the user's own key is kept beside its digest, for people to look up. Defaults to true. */
  readonly storeKeys?: boolean;
}

const OPTIONS: OptionRules = {
  clock: rules.clock,
  maxEntries: rules.count,
  storeKeys: rules.flag,
};

/**
 * A ledger in this process: the reference for what a store does, and a fit for tests and for work that need not outlive
 * the process. Its guarantees end with a restart and do not reach a second process.
 *
 * Records are never evicted before they expire: over `maxEntries` a new key is refused, since a forgotten key would run
 * twice.
 *
 * @throws EvenkeelError `INVALID_OPTIONS`.
 * @example
 * ```ts
 * const charge = withIdempotency(chargeCard, { store: memoryStore(), operation: "charge" });
 * ```
 */
export function memoryStore(options: MemoryStoreOptions = {}): LedgerStore {
  acceptOptions("memoryStore", OPTIONS, options);
  const clock = options.clock ?? systemClock;
  const maxEntries = options.maxEntries ?? 100_000;
  const storeKeys = options.storeKeys ?? true;
  const records = new Map<string, ExecutionRecord>();
  const steps = new Map<string, StepRecord[]>();
  const watchers = new Watchers();
  let lastToken = 0;
  let closed = false;
  /** No record expires before this moment, so a full store need not look again until then. */
  let nothingExpiresBefore = Number.NEGATIVE_INFINITY;
  /** Expired records are swept when the map has doubled since the last sweep: constant work a claim. */
  let sweepAtSize = 1_024;

  const nextToken = (): number => {
    lastToken += 1;
    return lastToken;
  };

  function assertOpen(): void {
    if (closed) throw new EvenkeelError("STORE_UNAVAILABLE", "The memory store is closed.");
  }

  function carryOut<Result>(id: string, decision: Decision<Result>): Result {
    const { write, result, forgetSteps } = decision;
    if (forgetSteps) steps.delete(id);
    if (write === "delete") records.delete(id);
    else if (write !== undefined) {
      records.set(id, write);
      nothingExpiresBefore = Math.min(nothingExpiresBefore, write.expiresAt);
    }
    return result;
  }

  function sweep(limit = Number.POSITIVE_INFINITY): number {
    const nowMs = clock.now();
    if (nowMs < nothingExpiresBefore) return 0;
    let purged = 0;
    let earliest = Number.POSITIVE_INFINITY;
    for (const [id, record] of records) {
      if (record.expiresAt > nowMs || purged >= limit) {
        earliest = Math.min(earliest, record.expiresAt);
        continue;
      }
      records.delete(id);
      steps.delete(id);
      purged += 1;
    }
    nothingExpiresBefore = earliest;
    return purged;
  }

  function makeRoom(id: string): void {
    if (records.has(id)) return;
    if (records.size >= Math.min(sweepAtSize, maxEntries)) {
      sweep();
      sweepAtSize = Math.max(1_024, records.size * 2);
    }
    if (records.size >= maxEntries) {
      throw new EvenkeelError("STORE_UNAVAILABLE", `The memory store is full: maxEntries is ${maxEntries}.`);
    }
  }

  const executions: ExecutionStore = {
    async claim(request) {
      assertOpen();
      makeRoom(request.id);
      const { key, ...keyless } = request;
      const decision = decideClaim(records.get(request.id), storeKeys ? request : keyless, {
        nowMs: clock.now(),
        nextToken,
        steps: () => (steps.get(request.id) ?? []).map(copyOutcome),
      });
      return copyOutcome(carryOut(request.id, decision));
    },

    async renew(request) {
      assertOpen();
      return carryOut(request.id, decideRenew(records.get(request.id), request, clock.now()));
    },

    async complete(request) {
      assertOpen();
      const decision = decideComplete(records.get(request.id), copyOutcome(request), clock.now());
      const result = carryOut(request.id, decision);
      watchers.wake(request.id);
      return copyOutcome(result);
    },

    async release(request) {
      assertOpen();
      const result = carryOut(request.id, decideRelease(records.get(request.id), request, clock.now()));
      watchers.wake(request.id);
      return copyOutcome(result);
    },

    async recordStep(request) {
      assertOpen();
      const status = decideStep(records.get(request.id), request, clock.now());
      if (status === "recorded") {
        const recorded = steps.get(request.id) ?? [];
        if (!recorded.some((step) => step.position === request.step.position)) recorded.push(copyOutcome(request.step));
        steps.set(request.id, recorded);
      }
      return { status };
    },

    async seize(request) {
      assertOpen();
      const context = { nowMs: clock.now(), nextToken };
      return copyOutcome(carryOut(request.id, decideSeize(records.get(request.id), request, context)));
    },

    async get(id) {
      assertOpen();
      return view(records.get(id));
    },

    async list({ operation, status, limit, after = "" }) {
      assertOpen();
      const found: ExecutionView[] = [];
      for (const id of [...records.keys()].sort()) {
        if (found.length >= limit) break;
        if (id <= after) continue;
        const seen = view(records.get(id));
        if (seen === undefined) continue;
        if (operation !== undefined && seen.operation !== operation) continue;
        if (status !== undefined && seen.status !== status) continue;
        found.push(seen);
      }
      return found;
    },

    async recent({ limit, operation }) {
      assertOpen();
      const nowMs = clock.now();
      const asked = [...records.values()].filter((record) => {
        return record.expiresAt > nowMs && (operation === undefined || record.operation === operation);
      });
      return asked
        .sort(compareRecency)
        .slice(0, limit)
        .flatMap((record) => view(record) ?? []);
    },

    async purge({ limit }) {
      assertOpen();
      return { purged: sweep(limit) };
    },

    async countExpired() {
      assertOpen();
      const nowMs = clock.now();
      let count = 0;
      for (const { expiresAt } of records.values()) if (expiresAt <= nowMs) count += 1;
      return { count };
    },

    watch: (id, wake) => watchers.watch(id, wake),
  };

  function view(record: ExecutionRecord | undefined): ExecutionView | undefined {
    const seen = viewOf(record, clock.now());
    return seen === undefined ? undefined : copyOutcome(seen);
  }

  const leases = memoryLeases({ clock, nextEpoch: nextToken, assertOpen });
  const { clear, ...resources } = memoryResources({ clock, nextToken, assertOpen });

  return {
    executions,
    resources,
    leases,
    async close() {
      closed = true;
      records.clear();
      steps.clear();
      clear();
    },
  };
}

/** Bytes are copied on the way in and out, so that nobody can change what the ledger holds. */
function copyOutcome<T extends object>(carrier: T): T {
  if (!("outcome" in carrier)) return carrier;
  const { outcome } = carrier as { outcome: StepRecord["outcome"] };
  return { ...carrier, outcome: { kind: outcome.kind, bytes: outcome.bytes.slice() } };
}
