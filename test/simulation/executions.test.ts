import { describe, expect, it } from "vitest";
import { memoryStore } from "../../adapters/stores/memory.ts";
import { type IdempotencyOptions, isEvenkeelError, type LedgerStore, withIdempotency } from "../../src/index.ts";
import { faultyStore, ManualClock, Partition, seededRandom } from "../../src/testing/index.ts";

/** Executors, keys and callers of one run; few keys, so that they meet. */
const EXECUTORS = 3;
const KEYS = 2;
const CALLS = 12;
const LEASE_MS = 300;
const SEEDS = Array.from({ length: 300 }, (_, seed) => seed);

interface Grant {
  readonly id: string;
  readonly token: number;
  readonly nonce: string;
}

/** Watches what the engine itself did, behind all faults: the truth that the invariants speak of. */
function witnessed(store: LedgerStore) {
  const grants: Grant[] = [];
  const commits: Grant[] = [];
  /** Noted and not thrown: the core would take a thrown one for a failure of the store. */
  const violations: string[] = [];
  const { executions } = store;
  const highest = (id: string): Grant | undefined => grants.filter((grant) => grant.id === id).at(-1);
  const witness: LedgerStore = {
    ...store,
    executions: {
      ...executions,
      async claim(request, call) {
        const result = await executions.claim(request, call);
        const last = highest(request.id);
        if (result.status === "acquired" && last?.nonce !== request.nonce) {
          if (result.token <= (last?.token ?? 0)) violations.push("I3: a token did not rise");
          grants.push({ id: request.id, token: result.token, nonce: request.nonce });
        }
        return result;
      },
      async complete(request, call) {
        const before = await executions.get(request.id, call);
        const result = await executions.complete(request, call);
        if (before?.status !== "completed" && result.status === "committed") {
          if (request.nonce !== highest(request.id)?.nonce) violations.push("I2: a stale attempt committed");
          commits.push({ id: request.id, token: request.token, nonce: request.nonce });
        }
        return result;
      },
      async release(request, call) {
        const result = await executions.release(request, call);
        if (result.status === "released" && request.nonce !== highest(request.id)?.nonce) {
          violations.push("P2: a stale attempt released");
        }
        return result;
      },
    },
  };
  return { witness, commits, violations };
}

describe("executors over a store that loses, delays, doubles and hangs", () => {
  it.each(SEEDS)("keep every invariant, seed %i", async (seed) => {
    const clock = new ManualClock();
    const random = seededRandom(seed);
    const { witness, commits, violations } = witnessed(memoryStore({ clock }));
    const rate = random.float() * 0.08;
    const rates = {
      lostRequest: rate,
      lostReply: rate,
      hangBefore: rate / 2,
      hangAfter: rate / 2,
      duplicate: rate,
      delay: rate,
    };
    const outcomes = new Map<string, unknown[]>();
    let settled = 0;

    const networks = Array.from({ length: EXECUTORS }, () => new Partition());
    const executors = networks.map((partition, index) => {
      const options: IdempotencyOptions<string, string> = {
        store: faultyStore(witness, { clock, random, rates, maxDelayMs: LEASE_MS * 2, partition }),
        operation: "pay",
        clock,
        random,
        leaseMs: LEASE_MS,
        storeTimeoutMs: 200,
        inFlight: index === 0 ? "reject" : "wait",
        maxWaitMs: 2_000,
        onCompleteFailure: "throw",
        retentionMs: 3_600_000,
      };
      return withIdempotency(async (key: string, ctx) => {
        // Often longer than the lease, so that a partition in the middle makes a stale attempt.
        await clock.sleep(random.float() * LEASE_MS * 4);
        if (random.float() < 0.2) throw new Error("the work failed");
        return `${key} by ${ctx.fencingToken}`;
      }, options);
    });
    const split = async (network: Partition): Promise<void> => {
      for (let n = 0; n < 4; n += 1) {
        await clock.sleep(random.float() * 1_000);
        network.cut((["requests", "replies", "both"] as const)[Math.floor(random.float() * 3)] ?? "both");
        await clock.sleep(random.float() * LEASE_MS * 3);
        network.heal();
      }
    };
    const splits = Promise.all(networks.map(split));

    const call = async (): Promise<void> => {
      await clock.sleep(random.float() * 3_000);
      const key = `k${Math.floor(random.float() * KEYS)}`;
      const execute = executors[Math.floor(random.float() * EXECUTORS)];
      try {
        const value = await execute?.(key, { key });
        outcomes.set(key, [...(outcomes.get(key) ?? []), value]);
      } catch (error) {
        const isOurs = isEvenkeelError(error) && error.code !== "RECORD_CORRUPT" && error.code !== "NESTED_EXECUTION";
        if (!isOurs && (error as Error).message !== "the work failed") throw error;
      } finally {
        settled += 1;
      }
    };
    const calls = Promise.all(Array.from({ length: CALLS }, call));
    await clock.advance(30_000);
    expect(settled, "I14: every caller settles").toBe(CALLS);
    await Promise.all([calls, splits]);

    expect(violations).toEqual([]);
    expect(new Set(commits.map(({ id }) => id)).size, "I1: one commit a record").toBe(commits.length);
    for (const [key, values] of outcomes) expect(new Set(values).size, `I9: one outcome for ${key}`).toBe(1);
    expect(clock.pendingTimers, "I20: nothing is left").toBe(0);

    // I13, I14: once the faults have stopped, every key comes to an outcome, and to the one that was seen before.
    const healthy = withIdempotency(async (key: string) => `${key} at last`, {
      store: witness,
      operation: "pay",
      clock,
    });
    for (let n = 0; n < KEYS; n += 1) {
      const [value] = await Promise.all([healthy(`k${n}`, { key: `k${n}` }), clock.advance(10_000)]);
      for (const seen of outcomes.get(`k${n}`) ?? []) expect(value).toBe(seen);
    }
  });
});
