import type { ManualClock } from "evenkeel/testing";
import type { ExecutionStore, Holder, LedgerStore, SeizeRequest, SeizeResult } from "../../src/store.ts";
import { breaking } from "./broken-stores.ts";

/** What was seized: from whom, by whom. */
interface Seizure {
  readonly request: SeizeRequest;
  readonly answer: Extract<SeizeResult, { status: "seized" }>;
}

interface SeizureParts {
  readonly inner: ExecutionStore;
  readonly clock: ManualClock;
  /** The last seizure of each record. */
  readonly seizures: ReadonlyMap<string, Seizure>;
  /** Who held each record before that. */
  readonly formerly: ReadonlyMap<string, Holder>;
}

function seizing(breakage: (parts: SeizureParts) => Partial<ExecutionStore>): (clock: ManualClock) => LedgerStore {
  return breaking(({ inner, clock, latest }) => {
    const seizures = new Map<string, Seizure>();
    const formerly = new Map<string, Holder>();
    const tracked: ExecutionStore = {
      ...inner,
      async seize(request, call) {
        const before = latest.get(request.id);
        const answer = await inner.seize(request, call);
        if (answer.status === "seized" && seizures.get(request.id)?.request.nonce !== request.nonce) {
          if (before !== undefined) formerly.set(request.id, before);
          seizures.set(request.id, { request, answer });
        }
        return answer;
      },
    };
    return { ...tracked, ...breakage({ inner: tracked, clock, seizures, formerly }) };
  });
}

/** A store that takes an operation of the former holder for one of whoever seized the record. */
function mistaking(name: "renew" | "recordStep" | "complete" | "release"): (clock: ManualClock) => LedgerStore {
  return seizing(({ inner, seizures, formerly }) => {
    const asked = inner[name] as (request: Holder, call: unknown) => Promise<never>;
    return {
      [name]: (request: Holder, call: unknown) => {
        const seizure = seizures.get(request.id);
        const isFormer = formerly.get(request.id)?.token === request.token;
        if (seizure === undefined || !isFormer) return asked(request, call);
        return asked({ ...request, token: seizure.answer.token, nonce: seizure.request.nonce }, call);
      },
    };
  });
}

/** A store that refuses whoever seized the record. */
function refusing(name: "complete" | "release"): (clock: ManualClock) => LedgerStore {
  return seizing(({ inner, seizures }) => {
    const asked = inner[name] as (request: Holder, call: unknown) => Promise<never>;
    return {
      [name]: async (request: Holder, call: unknown) => {
        if (seizures.get(request.id)?.request.nonce === request.nonce) return { status: "lost" } as never;
        return asked(request, call);
      },
    };
  });
}

/** The reference store, whose seizures are broken in one way each. */
export const brokenSeizures: Readonly<Record<string, (clock: ManualClock) => LedgerStore>> = {
  "changes nothing": seizing(() => ({})),
  "count as attempts": seizing(({ inner }) => ({
    async seize(request, call) {
      const answer = await inner.seize(request, call);
      return answer.status === "seized" ? { ...answer, attempt: answer.attempt + 1 } : answer;
    },
  })),
  "keep the token": seizing(({ inner }) => ({
    async seize(request, call) {
      const answer = await inner.seize(request, call);
      return answer.status === "seized" ? { ...answer, token: request.token } : answer;
    },
  })),
  "leave the lease as it was": seizing(({ inner }) => ({
    async seize(request, call) {
      const view = await inner.get(request.id, call);
      return inner.seize(view?.status === "running" ? { ...request, leaseMs: view.leaseRemainingMs } : request, call);
    },
  })),
  "keep the record for as long as its claim asked": seizing(({ inner }) => ({
    async seize(request, call) {
      const retentionMs = (await inner.get(request.id, call))?.retentionMs ?? request.retentionMs;
      return inner.seize({ ...request, retentionMs }, call);
    },
  })),
  "make their retention the claim's": seizing(({ inner, seizures }) => ({
    async get(id, call) {
      const view = await inner.get(id, call);
      const { request } = seizures.get(id) ?? {};
      return view === undefined || request === undefined ? view : { ...view, retentionMs: request.retentionMs };
    },
  })),
  "forget whose payload the record is of": seizing(({ inner, seizures }) => ({
    async get(id, call) {
      const view = await inner.get(id, call);
      if (view === undefined || !seizures.has(id)) return view;
      const { fingerprint: _fingerprint, ...rest } = view;
      return rest;
    },
  })),
  "let the former holder renew": mistaking("renew"),
  "let the former holder record a step": mistaking("recordStep"),
  "let the former holder complete": mistaking("complete"),
  "let the former holder release": mistaking("release"),
  "let nobody complete": refusing("complete"),
  "let nobody release": refusing("release"),
  "forget the steps": seizing(({ inner, seizures }) => ({
    async claim(request, call) {
      const answer = await inner.claim(request, call);
      return "steps" in answer && seizures.has(request.id) ? { ...answer, steps: [] } : answer;
    },
  })),
  "keep the steps no longer than before": seizing(({ inner, clock }) => {
    const ends = new Map<string, number>();
    return {
      async seize(request, call) {
        ends.set(request.id, clock.now() + ((await inner.get(request.id, call))?.expiresInMs ?? 0));
        return inner.seize(request, call);
      },
      async claim(request, call) {
        const answer = await inner.claim(request, call);
        const isOver = clock.now() >= (ends.get(request.id) ?? Number.POSITIVE_INFINITY);
        return "steps" in answer && isOver ? { ...answer, steps: [] } : answer;
      },
    };
  }),
  "make every release a retry": seizing(({ inner, seizures }) => ({
    release(request, call) {
      const { as } = request;
      if (as.mode !== "abandon" || !seizures.has(request.id)) return inner.release(request, call);
      return inner.release({ ...request, as: { ...as, mode: "retry" } }, call);
    },
  })),
  "take nothing that nobody holds": seizing(({ inner }) => ({
    async seize(request, call) {
      const view = await inner.get(request.id, call);
      return view?.status === "abandoned" && view.token === request.token
        ? { status: "changed" }
        : inner.seize(request, call);
    },
  })),
  "take nothing that was given up": seizing(({ inner }) => {
    const givenUp = new Set<number>();
    return {
      release(request, call) {
        givenUp.add(request.token);
        return inner.release(request, call);
      },
      async seize(request, call) {
        return givenUp.has(request.token) ? { status: "changed" } : inner.seize(request, call);
      },
    };
  }),
  "end with a release of before that comes again": seizing(({ inner, seizures, formerly }) => ({
    async release(request, call) {
      const answer = await inner.release(request, call);
      const isFormer = formerly.get(request.id)?.token === request.token;
      return isFormer && seizures.has(request.id) && request.as.mode === "abandon" ? { status: "released" } : answer;
    },
  })),
  "leave a retry granted": seizing(({ inner }) => {
    const granted = new Set<string>();
    return {
      async seize(request, call) {
        const view = await inner.get(request.id, call);
        if (view?.status === "abandoned" && view.retryGranted) granted.add(request.id);
        return inner.seize(request, call);
      },
      claim: (request, call) =>
        inner.claim(granted.has(request.id) ? { ...request, onAbandoned: "takeover" } : request, call),
    };
  }),
  "leave a lapsed lease lapsed": seizing(({ inner }) => ({
    async seize(request, call) {
      const view = await inner.get(request.id, call);
      const answer = await inner.seize(
        { ...request, leaseMs: view?.status === "abandoned" ? 1 : request.leaseMs },
        call,
      );
      return answer.status === "seized" ? { ...answer, leaseRemainingMs: request.leaseMs } : answer;
    },
  })),
  "never lapse": seizing(({ inner }) => ({
    async seize(request, call) {
      const answer = await inner.seize({ ...request, leaseMs: 1_000 * request.leaseMs }, call);
      return answer.status === "seized" ? { ...answer, leaseRemainingMs: request.leaseMs } : answer;
    },
  })),
  "take whatever grant there is": seizing(({ inner }) => ({
    async seize(request, call) {
      return inner.seize({ ...request, token: (await inner.get(request.id, call))?.token ?? 0 }, call);
    },
  })),
  "read first and write second": seizing(({ inner }) => ({
    async seize(request, call) {
      const isSeen = (await inner.get(request.id, call))?.token === request.token;
      const answer = await inner.seize(request, call);
      if (!isSeen || answer.status !== "changed") return answer;
      return { status: "seized", token: 1_000, attempt: 1, leaseRemainingMs: request.leaseMs };
    },
  })),
  "don't know a nonce again": seizing(({ inner, seizures }) => ({
    async seize(request, call) {
      const isAgain = seizures.get(request.id)?.request.nonce === request.nonce;
      return isAgain ? { status: "changed" } : inner.seize(request, call);
    },
  })),
  "set the lease anew when a nonce comes again": seizing(({ inner, seizures }) => ({
    async seize(request, call) {
      const answer = await inner.seize(request, call);
      const { request: first } = seizures.get(request.id) ?? {};
      if (answer.status !== "seized" || first?.nonce !== request.nonce) return answer;
      await inner.renew({ ...request, token: answer.token }, call);
      return { ...answer, leaseRemainingMs: request.leaseMs };
    },
  })),
  "don't know a nonce again after its lease": seizing(({ inner, seizures }) => ({
    async seize(request, call) {
      const view = await inner.get(request.id, call);
      const isAgain = seizures.get(request.id)?.request.nonce === request.nonce;
      return isAgain && view?.status === "abandoned" ? { status: "changed" } : inner.seize(request, call);
    },
  })),
  "know a nonce for ever": seizing(({ inner, seizures }) => ({
    async seize(request, call) {
      const { request: first, answer } = seizures.get(request.id) ?? {};
      return answer !== undefined && first?.nonce === request.nonce ? answer : inner.seize(request, call);
    },
  })),
  "take completed records": seizing(({ inner }) => ({
    async seize(request, call) {
      const answer = await inner.seize(request, call);
      if (answer.status !== "completed") return answer;
      return { status: "seized", token: request.token + 1, attempt: answer.attempt, leaseRemainingMs: request.leaseMs };
    },
  })),
  "take a missing record for one that changed": seizing(({ inner }) => ({
    async seize(request, call) {
      const answer = await inner.seize(request, call);
      return answer.status === "missing" ? { status: "changed" } : answer;
    },
  })),
};
