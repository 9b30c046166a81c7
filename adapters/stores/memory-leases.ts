import type { Clock } from "../../src/clock.ts";
import {
  decideAcquire,
  decideLeaseRelease,
  decideLeaseRenewal,
  type LeaseDecision,
  type LeaseRecord,
  leaseViewOf,
} from "../../src/lease-record.ts";
import { compareCodePoints } from "../../src/resource-record.ts";
import type { LeaseStore, LeaseView } from "../../src/store.ts";

/** Below this many leases nothing is swept. */
const SMALLEST_SWEEP = 1_024;

export interface MemoryLeasesOptions {
  readonly clock: Clock;
  /** Takes a number higher than all before it. */
  readonly nextEpoch: () => number;
  /** Throws once the store is closed. */
  readonly assertOpen: () => void;
}

/**
 * The leases of a ledger in memory, which no other process and no later start sees: so they last by the monotonic clock, and a wall
 * clock that is set changes nothing.
 */
export function memoryLeases({ clock, nextEpoch, assertOpen }: MemoryLeasesOptions): LeaseStore {
  const records = new Map<string, LeaseRecord>();
  /** Lapsed leases are swept when the map has doubled since the last sweep: constant work an acquisition. */
  let sweepAtSize = SMALLEST_SWEEP;

  /** What goes takes no epoch along: they are counted for all names together. */
  function sweep(): void {
    if (records.size < sweepAtSize) return;
    const nowMs = clock.monotonic();
    for (const [name, { expiresAt }] of records) if (expiresAt <= nowMs) records.delete(name);
    sweepAtSize = Math.max(SMALLEST_SWEEP, records.size * 2);
  }

  function carryOut<Result>(name: string, { result, write }: LeaseDecision<Result>): Result {
    if (write === "delete") records.delete(name);
    else if (write !== undefined) records.set(name, write);
    return result;
  }

  return {
    async acquire(request) {
      assertOpen();
      sweep();
      return carryOut(request.name, decideAcquire(records.get(request.name), request, clock.monotonic(), nextEpoch));
    },

    async renew(request) {
      assertOpen();
      return carryOut(request.name, decideLeaseRenewal(records.get(request.name), request, clock.monotonic()));
    },

    async release(request) {
      assertOpen();
      return carryOut(request.name, decideLeaseRelease(records.get(request.name), request));
    },

    async get(name) {
      assertOpen();
      return leaseViewOf(records.get(name), clock.monotonic());
    },

    async list(prefix) {
      assertOpen();
      const nowMs = clock.monotonic();
      return [...records.values()]
        .filter(({ name }) => name.startsWith(prefix))
        .map((record) => leaseViewOf(record, nowMs))
        .filter((view): view is LeaseView => view !== undefined)
        .sort((a, b) => compareCodePoints(a.name, b.name));
    },
  };
}
