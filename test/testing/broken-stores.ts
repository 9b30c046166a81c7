import { memoryStore } from "evenkeel/memory";
import type { ManualClock } from "evenkeel/testing";
import type {
  AcquiredClaim,
  ClaimRequest,
  ClaimResult,
  ExecutionStore,
  Holder,
  LedgerStore,
  StoredOutcome,
} from "../../src/store.ts";

/** What a broken store is made of: the store that works, and who was last granted each record. */
interface Parts {
  readonly inner: ExecutionStore;
  readonly clock: ManualClock;
  readonly latest: ReadonlyMap<string, Holder>;
}

type Breakage = (parts: Parts) => Partial<ExecutionStore> & { readonly close?: () => Promise<void> };

const CALL = { timeoutMs: 1_000 };

/** A store as `breakage` makes it of the reference store. */
export function breaking(breakage: Breakage): (clock: ManualClock) => LedgerStore {
  return (clock) => {
    const store = memoryStore({ clock });
    const latest = new Map<string, Holder>();
    const inner: ExecutionStore = {
      ...store.executions,
      async claim(request, call) {
        const answer = await store.executions.claim(request, call);
        const { id, nonce } = request;
        if (answer.status === "acquired") latest.set(id, { id, nonce, token: answer.token });
        return answer;
      },
    };
    const { close, ...operations } = breakage({ inner, clock, latest });
    return { ...store, executions: { ...inner, ...operations }, close: close ?? (() => store.close()) };
  };
}

/** The reference store, broken in one way each. */
export const brokenStores: Readonly<Record<string, (clock: ManualClock) => LedgerStore>> = {
  "changes nothing": breaking(() => ({})),

  // ------------------------------------------------------------------------------------------------- fencing
  "ignores the token on completion": breaking(({ inner, latest }) => ({
    complete: (request, call) => inner.complete({ ...request, ...latest.get(request.id) }, call),
  })),
  "ignores the token on release": breaking(({ inner, latest }) => ({
    release: (request, call) => inner.release({ ...request, ...latest.get(request.id) }, call),
  })),
  "ignores the token on renewal": breaking(({ inner, latest }) => ({
    renew: (request, call) => inner.renew({ ...request, ...latest.get(request.id) }, call),
  })),
  "ignores the token on steps": breaking(({ inner, latest }) => ({
    recordStep: (request, call) => inner.recordStep({ ...request, ...latest.get(request.id) }, call),
  })),
  "ignores the nonce": breaking(({ inner, latest }) => ({
    complete: (request, call) => {
      const holder = latest.get(request.id);
      return inner.complete(holder?.token === request.token ? { ...request, ...holder } : request, call);
    },
  })),
  "takes over without raising the token": breaking(({ inner, latest }) => {
    const first = new Map<string, number>();
    const real = <T extends Holder>(request: T): T => {
      const holder = latest.get(request.id);
      return holder?.nonce === request.nonce ? { ...request, token: holder.token } : request;
    };
    return {
      async claim(request, call) {
        const answer = await inner.claim(request, call);
        if (answer.status !== "acquired") return answer;
        const token = answer.attempt === 1 ? answer.token : (first.get(request.id) ?? answer.token);
        first.set(request.id, token);
        return { ...answer, token };
      },
      complete: (request, call) => inner.complete(real(request), call),
      renew: (request, call) => inner.renew(real(request), call),
      release: (request, call) => inner.release(real(request), call),
      recordStep: (request, call) => inner.recordStep(real(request), call),
    };
  }),
  "starts its tokens anew with each first attempt": breaking(({ inner }) => {
    const offsets = new Map<string, number>();
    const real = <T extends Holder>(request: T): T => {
      return { ...request, token: request.token + (offsets.get(request.id) ?? 0) };
    };
    return {
      async claim(request, call) {
        const answer = await inner.claim(request, call);
        if (answer.status !== "acquired") return answer;
        if (answer.attempt === 1) offsets.set(request.id, answer.token - 1);
        return { ...answer, token: answer.token - (offsets.get(request.id) ?? 0) };
      },
      complete: (request, call) => inner.complete(real(request), call),
      renew: (request, call) => inner.renew(real(request), call),
      release: (request, call) => inner.release(real(request), call),
      recordStep: (request, call) => inner.recordStep(real(request), call),
    };
  }),

  // --------------------------------------------------------------------------------------------------- claim
  "does not compare fingerprints": breaking(({ inner }) => ({
    claim: ({ fingerprint: _fingerprint, ...request }, call) => inner.claim(request, call),
  })),
  "gives a completed outcome to any payload": breaking(({ inner }) => ({
    async claim(request, call) {
      const { fingerprint: _fingerprint, ...bare } = request;
      const view = await inner.get(request.id, call);
      return inner.claim(view?.status === "completed" ? bare : request, call);
    },
  })),
  "does not know a nonce again": breaking(({ inner }) => {
    const seen = new Set<string>();
    return {
      async claim(request, call) {
        const answer = await inner.claim(request, call);
        if (answer.status !== "acquired") return answer;
        const { attempt, leaseRemainingMs } = answer;
        if (seen.has(`${request.id}${request.nonce}`)) return { status: "running", attempt, leaseRemainingMs };
        seen.add(`${request.id}${request.nonce}`);
        return answer;
      },
    };
  }),
  "gives a nonce that comes again a new token": breaking(({ inner, latest }) => ({
    async claim(request, call) {
      const before = latest.get(request.id);
      if (before?.nonce === request.nonce) await inner.release({ ...before, as: { mode: "forget" } }, call);
      return inner.claim(request, call);
    },
  })),
  "lengthens the lease when a nonce comes again": breaking(({ inner, latest }) => ({
    async claim(request, call) {
      const answer = await inner.claim(request, call);
      const holder = latest.get(request.id);
      if (answer.status === "acquired" && holder !== undefined) await inner.renew({ ...request, ...holder }, call);
      return answer;
    },
  })),
  "reads first and writes second": breaking(({ inner }) => ({
    async claim(request, call) {
      const absent = (await inner.get(request.id, call)) === undefined;
      const answer = await inner.claim(request, call);
      if (!absent || answer.status !== "running") return answer;
      return { status: "acquired", attempt: 1, token: 1_000, leaseRemainingMs: request.leaseMs, steps: [] };
    },
  })),
  "takes over where it is asked to report": breaking(({ inner }) => ({
    claim: (request, call) => inner.claim({ ...request, onAbandoned: "takeover" }, call),
  })),
  "forgets that a retry was granted": breaking(({ inner }) => ({
    release(request, call) {
      const { as } = request;
      if (as.mode !== "retry") return inner.release(request, call);
      return inner.release({ ...request, as: { ...as, mode: "abandon", attempt: 1 } }, call);
    },
  })),
  "does not say when the attempt before lapsed": breaking(({ inner }) => ({
    async claim(request, call) {
      const answer = await inner.claim(request, call);
      if (answer.status !== "acquired") return answer;
      const { abandonedAt: _abandonedAt, ...rest } = answer;
      return rest;
    },
  })),

  "forgets the fingerprint when a claim without one takes over": breaking(({ inner }) => {
    const forgotten = new Set<string>();
    return {
      async claim({ fingerprint, ...bare }, call) {
        const compared = fingerprint === undefined || forgotten.has(bare.id) ? bare : { ...bare, fingerprint };
        const answer = await inner.claim(compared, call);
        if (answer.status === "acquired" && fingerprint === undefined) forgotten.add(bare.id);
        return answer;
      },
    };
  }),
  "compares the beginning of fingerprints": breaking(({ inner }) => ({
    claim: ({ fingerprint, ...request }, call) =>
      inner.claim(fingerprint === undefined ? request : { ...request, fingerprint: fingerprint.slice(0, 32) }, call),
  })),
  "does not say whose payload an outcome is of": breaking(({ inner }) => {
    const nobodys = <T extends object>(answer: T): T => {
      const { fingerprint: _fingerprint, ...rest } = answer as T & { fingerprint?: string };
      return rest as T;
    };
    return {
      claim: async (request, call) => nobodys(await inner.claim(request, call)),
      complete: async (request, call) => nobodys(await inner.complete(request, call)),
      release: async (request, call) => nobodys(await inner.release(request, call)),
    };
  }),
  "takes ids for one that begin alike": breaking(({ inner }) => {
    const short = <T extends { id: string }>(request: T): T => ({ ...request, id: request.id.slice(0, 63) });
    return {
      claim: (request, call) => inner.claim(short(request), call),
      complete: (request, call) => inner.complete(short(request), call),
      get: (id, call) => inner.get(id.slice(0, 63), call),
    };
  }),
  "ignores the attempt as which a retry is granted": breaking(({ inner }) => ({
    async release(request, call) {
      const { as } = request;
      const attempt = (await inner.get(request.id, call))?.attempt ?? 1;
      return inner.release(as.mode === "retry" ? { ...request, as: { ...as, attempt } } : request, call);
    },
  })),
  "remembers when a key was first seen": breaking(({ inner }) => {
    const first = new Map<string, number>();
    return {
      async get(id, call) {
        const view = await inner.get(id, call);
        if (view === undefined) return undefined;
        first.set(id, first.get(id) ?? view.createdAt);
        return { ...view, createdAt: first.get(id) ?? view.createdAt };
      },
    };
  }),

  // ------------------------------------------------------------------------------------------------ boundaries
  "ignores the retention that a renewal asks for": breaking(({ inner }) => ({
    async renew(request, call) {
      const retentionMs = (await inner.get(request.id, call))?.retentionMs ?? request.retentionMs;
      return inner.renew({ ...request, retentionMs }, call);
    },
  })),
  "does not keep the retention that a claim asked for": breaking(({ inner }) => ({
    async get(id, call) {
      const view = await inner.get(id, call);
      return view === undefined ? undefined : { ...view, retentionMs: view.expiresInMs };
    },
  })),
  "counts the retention of an abandoned record from its release": breaking(({ inner, clock }) => ({
    release(request, call) {
      const { as } = request;
      if (as.mode !== "abandon") return inner.release(request, call);
      const retentionMs = as.retentionMs + clock.now() - (as.leaseExpiredAt ?? clock.now());
      return inner.release({ ...request, as: { ...as, retentionMs } }, call);
    },
  })),
  "does not move the end of the record when a nonce comes again after its lease": breaking(
    ({ inner, latest, clock }) => {
      const ends = new Map<string, number>();
      return {
        async claim(request, call) {
          const known = latest.get(request.id)?.nonce === request.nonce;
          const answer = await inner.claim(request, call);
          const end = clock.now() + request.leaseMs + request.retentionMs;
          if (answer.status === "acquired" && !known) ends.set(request.id, end);
          return answer;
        },
        async get(id, call) {
          const view = await inner.get(id, call);
          if (view?.status !== "running") return view;
          return { ...view, expiresInMs: (ends.get(id) ?? 0) - clock.now() };
        },
      };
    },
  ),
  "has a lease a millisecond too long": breaking(({ inner }) => ({
    async claim(request, call) {
      return hideMs(await inner.claim({ ...request, leaseMs: request.leaseMs + 1 }, call), 1);
    },
  })),
  "has a lease a millisecond too short": breaking(({ inner }) => ({
    async claim(request, call) {
      const leaseMs = Math.max(1, request.leaseMs - 1);
      return hideMs(await inner.claim({ ...request, leaseMs }, call), leaseMs - request.leaseMs);
    },
  })),
  "keeps a completed record a millisecond too long": breaking(({ inner }) => ({
    complete: (request, call) => inner.complete({ ...request, retentionMs: request.retentionMs + 1 }, call),
  })),
  "counts the retention from the claim": breaking(({ inner, clock }) => ({
    async complete(request, call) {
      const view = await inner.get(request.id, call);
      const age = clock.now() - (view?.createdAt ?? clock.now());
      return inner.complete({ ...request, retentionMs: Math.max(1, request.retentionMs - age) }, call);
    },
  })),
  "renews a lease that has lapsed": breaking(({ inner }) => ({
    async renew(request, call) {
      const view = await inner.get(request.id, call);
      if (view?.status === "abandoned" && view.token === request.token && !view.retryGranted) {
        const { operation, scope } = view;
        await inner.claim({ ...request, operation, scope, onAbandoned: "takeover" }, call);
      }
      return inner.renew(request, call);
    },
  })),
  "refuses the completion of a lapsed lease": breaking(({ inner }) => ({
    async complete(request, call) {
      const view = await inner.get(request.id, call);
      return view?.status === "abandoned" ? { status: "lost" } : inner.complete(request, call);
    },
  })),

  // -------------------------------------------------------------------------------------------------- outcomes
  "overwrites a completed outcome": breaking(({ inner }) => {
    const outcomes = new Map<string, StoredOutcome>();
    const overwritten = <T extends object>(id: string, answer: T): T => {
      const outcome = outcomes.get(id);
      return "outcome" in answer && outcome !== undefined ? { ...answer, outcome } : answer;
    };
    return {
      async complete(request, call) {
        const answer = await inner.complete(request, call);
        if (answer.status === "committed") outcomes.set(request.id, request.outcome);
        return overwritten(request.id, answer);
      },
      claim: async (request, call) => overwritten(request.id, await inner.claim(request, call)),
    };
  }),
  "hands out the bytes that it keeps": breaking(({ inner }) => {
    const kept = new Map<string, StoredOutcome>();
    return {
      async claim(request, call) {
        const answer = await inner.claim(request, call);
        if (answer.status !== "completed") return answer;
        kept.set(request.id, kept.get(request.id) ?? answer.outcome);
        return { ...answer, outcome: kept.get(request.id) ?? answer.outcome };
      },
    };
  }),
  "keeps the bytes that it is handed": breaking(({ inner }) => {
    const kept = new Map<string, StoredOutcome>();
    return {
      async complete(request, call) {
        kept.set(request.id, kept.get(request.id) ?? request.outcome);
        const answer = await inner.complete(request, call);
        return "outcome" in answer ? { ...answer, outcome: kept.get(request.id) ?? answer.outcome } : answer;
      },
    };
  }),
  "takes errors for values": breaking(({ inner }) => ({
    complete: (request, call) => inner.complete({ ...request, outcome: { ...request.outcome, kind: "value" } }, call),
  })),
  "loses bytes above 127": breaking(({ inner }) => ({
    complete(request, call) {
      const bytes = request.outcome.bytes.map((byte) => Math.min(byte, 127));
      return inner.complete({ ...request, outcome: { ...request.outcome, bytes } }, call);
    },
  })),

  // ------------------------------------------------------------------------------------------------------ watch
  "never wakes anybody": breaking(() => ({ watch: () => () => {} })),
  "wakes one watcher of each record": breaking(({ inner }) => {
    const watched = new Set<string>();
    return {
      watch(id, wake) {
        if (watched.has(id)) return () => {};
        watched.add(id);
        return inner.watch?.(id, wake) ?? (() => {});
      },
    };
  }),
  "ends every watching when one of them ends": breaking(({ inner }) => {
    const ends = new Map<string, (() => void)[]>();
    return {
      watch(id, wake) {
        const all = ends.get(id) ?? [];
        ends.set(id, all);
        all.push(inner.watch?.(id, wake) ?? (() => {}));
        return () => {
          for (const end of all) end();
        };
      },
    };
  }),
  "wakes who has ended watching": breaking(({ inner }) => ({
    watch(id, wake) {
      inner.watch?.(id, wake);
      return () => {};
    },
  })),

  // ------------------------------------------------------------------------------------- steps, purge, list, close
  "loses the steps at a takeover": breaking(({ inner }) => ({
    async claim(request, call) {
      const answer = await inner.claim(request, call);
      return answer.status === "acquired" ? { ...answer, steps: [] } : answer;
    },
  })),
  "records a step as often as it arrives": breaking(({ inner }) => {
    let position = 1_000;
    return {
      async recordStep(request, call) {
        await inner.recordStep(request, call);
        position += 1;
        return inner.recordStep({ ...request, step: { ...request.step, position } }, call);
      },
    };
  }),
  "purges what is alive": breaking(({ inner, latest }) => ({
    async purge(request, call) {
      for (const holder of latest.values()) await inner.release({ ...holder, as: { mode: "forget" } }, call);
      return inner.purge(request, call);
    },
  })),
  "purges more than it is told": breaking(({ inner }) => ({
    purge: (_request, call) => inner.purge({ limit: 1_000 }, call),
  })),
  "lists in no order": breaking(({ inner }) => ({
    list: async (request, call) => (await inner.list(request, call)).reverse(),
  })),
  "filters a page after it was cut": breaking(({ inner }) => ({
    async list({ status, ...request }, call) {
      const page = await inner.list(request, call);
      return status === undefined ? page : page.filter((view) => view.status === status);
    },
  })),
  "begins a page with the record before it": breaking(({ inner }) => ({
    async list({ after, ...request }, call) {
      const all = await inner.list({ ...request, limit: 1_000 }, call);
      return all.filter(({ id }) => after === undefined || id >= after).slice(0, request.limit);
    },
  })),
  "changes odd keys": breaking(({ inner }) => ({
    claim: (request, call) => inner.claim(trimmed(request), call),
  })),
  "begins a list anew after a record that is gone": breaking(({ inner }) => ({
    async list({ after, ...request }, call) {
      const isThere = after !== undefined && (await inner.get(after, call)) !== undefined;
      return inner.list(isThere ? { ...request, after } : request, call);
    },
  })),
  "answers after it was closed": breaking(() => ({ close: async () => {} })),
  "fails after it was closed with some error": breaking(({ inner }) => ({
    get: (id, call) =>
      inner.get(id, call ?? CALL).catch(() => {
        throw new Error("closed");
      }),
  })),
};

function hideMs(answer: ClaimResult, ms: number): ClaimResult {
  if (answer.status !== "acquired") return answer;
  return { ...answer, leaseRemainingMs: answer.leaseRemainingMs - ms } satisfies AcquiredClaim;
}

function trimmed({ key, ...request }: ClaimRequest): ClaimRequest {
  return key === undefined ? request : { ...request, key: key.trim() };
}
