import { describe, expect, it } from "vitest";
import type {
  AcquiredClaim,
  ClaimResult,
  CommittedOutcome,
  CompleteResult,
  ExecutionStore,
  LeaseStore,
  ReleaseResult,
  RenewResult,
  SeizeResult,
} from "../../src/store.ts";
import { Elapsed } from "../../src/testing/conformance/elapsed.ts";
import { Invariants } from "../../src/testing/conformance/invariants.ts";
import { LeaseInvariants } from "../../src/testing/conformance/lease-invariants.ts";

const CALL = { timeoutMs: 1_000 };
const TIMES = { leaseMs: 1_000, retentionMs: 10_000 };

/** A store that answers what it is told to, watched. */
function watched() {
  const elapsed = new Elapsed(true);
  const invariants = new Invariants(elapsed);
  let next: unknown;
  const answer = async () => next as never;
  const told = { claim: answer, renew: answer, complete: answer, release: answer, recordStep: answer, get: answer };
  const more = { seize: answer, list: answer, recent: answer, purge: answer, countExpired: answer };
  const store = invariants.observe({ ...told, ...more } as ExecutionStore);
  const tell = <T>(what: T): T => {
    next = what;
    return what;
  };
  return {
    advance: (ms: number) => elapsed.advance(ms, async () => {}),
    claim(nonce: string, answered: ClaimResult) {
      tell(answered);
      const request = { id: "id", operation: "o", scope: "", nonce, ...TIMES, onAbandoned: "takeover" } as const;
      return store.claim(request, CALL);
    },
    complete(nonce: string, token: number, sent: string, answered: CompleteResult) {
      tell(answered);
      const outcome = outcomeOf(sent);
      return store.complete({ id: "id", nonce, token, outcome, retentionMs: TIMES.retentionMs }, CALL);
    },
    renew(nonce: string, token: number, answered: RenewResult) {
      tell(answered);
      return store.renew({ id: "id", nonce, token, ...TIMES }, CALL);
    },
    seize(nonce: string, seen: number, answered: SeizeResult) {
      tell(answered);
      return store.seize({ id: "id", token: seen, nonce, ...TIMES }, CALL);
    },
    recent(answered: unknown) {
      tell(answered);
      return store.recent({ limit: 10 }, CALL);
    },
    release(nonce: string, token: number, answered: ReleaseResult) {
      tell(answered);
      return store.release({ id: "id", nonce, token, as: { mode: "forget" } }, CALL);
    },
    step(nonce: string, token: number) {
      tell({ status: "recorded" });
      const step = { position: 0, name: "s", outcome: outcomeOf("s") };
      return store.recordStep({ id: "id", nonce, token, step }, CALL);
    },
    get(answered: unknown) {
      tell(answered);
      return store.get("id", CALL);
    },
    held: () => invariants.assertHeld({ get: () => Promise.reject(new Error("closed")) } as unknown as ExecutionStore),
  };
}

const outcomeOf = (text: string) => ({ kind: "value", bytes: new TextEncoder().encode(text) }) as const;

function granted(token: number, attempt = 1): AcquiredClaim {
  return { status: "acquired", token, attempt, leaseRemainingMs: 1_000, steps: [] };
}

function seized(token: number, attempt = 1): SeizeResult {
  return { status: "seized", token, attempt, leaseRemainingMs: 1_000 };
}

function outcome(text: string, completedAt = 5): CommittedOutcome {
  return { outcome: outcomeOf(text), attempt: 1, completedAt, expiresInMs: 10_000 };
}

const committed = (text: string): CompleteResult => ({ status: "committed", ...outcome(text) });

type Watched = ReturnType<typeof watched>;

const VIOLATIONS: Readonly<Record<string, [RegExp, (store: Watched) => Promise<unknown>]>> = {
  "a second commit within the retention": [
    /I1/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.complete("a", 1, "x", committed("x"));
      await store.claim("b", granted(2, 2));
      await store.complete("b", 2, "y", committed("y"));
    },
  ],
  "a commit under a token that was passed": [
    /I2/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.advance(1_000);
      await store.claim("b", granted(2, 2));
      await store.complete("a", 1, "x", committed("x"));
    },
  ],
  "a commit that nobody was granted": [/I2/, (store) => store.complete("a", 1, "x", committed("x"))],
  "a token below one that was granted": [
    /I3/,
    async (store) => {
      await store.claim("a", granted(2));
      await store.advance(20_000);
      await store.claim("b", granted(1));
    },
  ],
  "a token for two": [
    /I3/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.advance(1_000);
      await store.claim("b", granted(1, 2));
    },
  ],
  "a token of zero": [/positive/, (store) => store.claim("a", granted(0))],
  "a new token for a nonce that asks again": [
    /I4/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.claim("a", granted(2));
    },
  ],
  "another attempt for a nonce that asks again": [
    /I4/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.claim("a", granted(1, 2));
    },
  ],
  "a seizure that keeps the token": [
    /I3/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.seize("b", 1, seized(1));
    },
  ],
  "a commit under a token that was seized": [
    /I2/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.seize("b", 1, seized(2));
      await store.complete("a", 1, "x", committed("x"));
    },
  ],
  "a renewal under a token that was seized": [
    /I7/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.seize("b", 1, seized(2));
      await store.renew("a", 1, { status: "renewed", leaseRemainingMs: 1_000 });
    },
  ],
  "a new token for a seizure that asks again": [
    /I4/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.seize("b", 1, seized(2));
      await store.seize("b", 1, seized(3));
    },
  ],
  "a claim of what is seized": [
    /I6/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.seize("b", 1, seized(2));
      await store.claim("c", granted(3, 2));
    },
  ],
  "a seizure of a grant that was not seen": [
    /I6/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.advance(1_000);
      await store.claim("b", granted(2, 2));
      await store.seize("c", 1, seized(3, 2));
    },
  ],
  "a seizure of what is completed": [
    /I5/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.complete("a", 1, "x", committed("x"));
      await store.seize("b", 1, seized(2));
    },
  ],
  "other bytes among the recent records": [
    /I5/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.complete("a", 1, "x", committed("x"));
      await store.recent([{ id: "id", status: "completed", token: 1, ...outcome("y") }]);
    },
  ],
  "other bytes than were sent": [
    /I5/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.complete("a", 1, "x", committed("y"));
    },
  ],
  "an outcome that changes": [
    /I5/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.complete("a", 1, "x", committed("x"));
      await store.claim("b", { status: "completed", ...outcome("y") });
    },
  ],
  "a moment of completion that changes": [
    /I5/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.complete("a", 1, "x", committed("x"));
      await store.get({ status: "completed", token: 1, ...outcome("x", 6) });
    },
  ],
  "a completed record that is gone before its time": [
    /I5/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.complete("a", 1, "x", committed("x"));
      await store.advance(9_999);
      await store.get(undefined);
    },
  ],
  "a takeover before the lease ends": [
    /I6/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.advance(999);
      await store.claim("b", granted(2, 2));
    },
  ],
  "a takeover before a renewed lease ends": [
    /I6/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.advance(500);
      await store.renew("a", 1, { status: "renewed", leaseRemainingMs: 1_000 });
      await store.advance(500);
      await store.claim("b", granted(2, 2));
    },
  ],
  "a renewal of a lapsed lease": [
    /I7/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.advance(1_000);
      await store.renew("a", 1, { status: "renewed", leaseRemainingMs: 1_000 });
    },
  ],
  "a renewal under another nonce": [
    /I7/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.renew("b", 1, { status: "renewed", leaseRemainingMs: 1_000 });
    },
  ],
  "a renewal after the release": [
    /I7/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.release("a", 1, { status: "released" });
      await store.renew("a", 1, { status: "renewed", leaseRemainingMs: 1_000 });
    },
  ],
  "a release by a stranger": [/I7/, (store) => store.release("a", 1, { status: "released" })],
  "a step of a holder that was taken over": [
    /I7/,
    async (store) => {
      await store.claim("a", granted(1));
      await store.advance(1_000);
      await store.claim("b", granted(2, 2));
      await store.step("a", 1);
    },
  ],
};

describe("the invariants of executions", () => {
  it.each(Object.entries(VIOLATIONS))("see %s", async (_name, [rule, happens]) => {
    const store = watched();
    await happens(store);
    await expect(store.held()).rejects.toThrow(rule);
  });

  it("see nothing wrong in a life without violations", async () => {
    const store = watched();
    await store.claim("a", granted(1));
    await store.claim("a", granted(1));
    await store.renew("a", 1, { status: "renewed", leaseRemainingMs: 1_000 });
    await store.advance(1_000);
    await store.claim("b", granted(2, 2));
    await store.renew("a", 1, { status: "lost" });
    await store.complete("b", 2, "x", committed("x"));
    await store.complete("b", 2, "y", committed("x"));
    await store.complete("a", 1, "z", { status: "finalized", ...outcome("x") });
    await store.get({ status: "completed", token: 2, ...outcome("x") });
    await store.advance(10_000);
    await store.get(undefined);
    await store.claim("b", granted(3));
    await store.release("b", 3, { status: "released" });
    await store.claim("b", granted(4));
    await expect(store.held()).resolves.toBeUndefined();
  });

  it("judge no answer by one that it overlapped with", async () => {
    const elapsed = new Elapsed(true);
    const invariants = new Invariants(elapsed);
    const waiting: ((answer: ClaimResult) => void)[] = [];
    const claim = () => new Promise<ClaimResult>((resolve) => waiting.push(resolve));
    const store = invariants.observe({ claim } as unknown as ExecutionStore);
    const asked = ["a", "b"].map((nonce) => {
      const request = { id: "id", operation: "o", scope: "", nonce, ...TIMES, onAbandoned: "takeover" } as const;
      return store.claim(request, CALL);
    });
    // The second was decided first, and its answer took longer.
    waiting[1]?.(granted(2, 2));
    waiting[0]?.(granted(1));
    await Promise.all(asked);
    await expect(invariants.assertHeld(store)).resolves.toBeUndefined();
  });
});

describe("the invariants of leases", () => {
  const DURATION = { durationMs: 1_000 };
  const life = () => {
    const elapsed = new Elapsed(true);
    const invariants = new LeaseInvariants(elapsed);
    let next: unknown;
    const answer = async () => next as never;
    const store = invariants.observe({ acquire: answer, renew: answer, release: answer } as unknown as LeaseStore);
    return {
      advance: (ms: number) => elapsed.advance(ms, async () => {}),
      acquire(holder: string, nonce: string, epoch: number) {
        next = { status: "acquired", epoch, remainingMs: 1_000 };
        return store.acquire({ name: "n", holder, nonce, ...DURATION }, CALL);
      },
      renew(holder: string, epoch: number) {
        next = { status: "renewed", remainingMs: 1_000 };
        return store.renew({ name: "n", holder, epoch, ...DURATION }, CALL);
      },
      release(holder: string, epoch: number) {
        next = { status: "released" };
        return store.release({ name: "n", holder, epoch }, CALL);
      },
      held: () => invariants.assertHeld(),
    };
  };
  type Life = ReturnType<typeof life>;

  const WRONG: Readonly<Record<string, [RegExp, (leases: Life) => Promise<unknown>]>> = {
    "two holders at once": [
      /I6/,
      async (leases) => {
        await leases.acquire("a", "1", 1);
        await leases.advance(999);
        await leases.acquire("b", "2", 2);
      },
    ],
    "an epoch that falls": [
      /I3/,
      async (leases) => {
        await leases.acquire("a", "1", 2);
        await leases.advance(1_000);
        await leases.acquire("b", "2", 1);
      },
    ],
    "an epoch for two": [
      /I16/,
      async (leases) => {
        await leases.acquire("a", "1", 1);
        await leases.advance(1_000);
        await leases.acquire("b", "2", 1);
      },
    ],
    "a renewal by a stranger": [
      /I7/,
      async (leases) => {
        await leases.acquire("a", "1", 1);
        await leases.renew("b", 1);
      },
    ],
    "a renewal after the lapse": [
      /I7/,
      async (leases) => {
        await leases.acquire("a", "1", 1);
        await leases.advance(1_000);
        await leases.renew("a", 1);
      },
    ],
    "a renewal after the release": [
      /I7/,
      async (leases) => {
        await leases.acquire("a", "1", 1);
        await leases.release("a", 1);
        await leases.renew("a", 1);
      },
    ],
    "a release by a stranger": [/I7/, (leases) => leases.release("a", 1)],
  };

  it.each(Object.entries(WRONG))("see %s", async (_name, [rule, happens]) => {
    const leases = life();
    await happens(leases);
    expect(leases.held).toThrow(rule);
  });

  it("see nothing wrong in a life without violations", async () => {
    const leases = life();
    await leases.acquire("a", "1", 1);
    await leases.acquire("a", "1", 1);
    await leases.renew("a", 1);
    await leases.release("a", 1);
    await leases.acquire("b", "2", 2);
    await leases.advance(1_000);
    await leases.acquire("a", "1", 3);
    expect(leases.held).not.toThrow();
  });
});
