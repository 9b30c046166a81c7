import type { ManualClock } from "evenkeel/testing";
import { EvenkeelError } from "../../src/errors.ts";
import type { ExecutionStore, ExecutionView, LedgerStore } from "../../src/store.ts";
import { breaking } from "./broken-stores.ts";

const CALL = { timeoutMs: 1_000 };
const ALL = { limit: 1_000 };

/** What a store does wrong with what it would see. */
function seeing(change: (views: ExecutionView[]) => ExecutionView[]): (clock: ManualClock) => LedgerStore {
  return breaking(({ inner }) => ({
    recent: async (request, call) => change(await inner.recent(request, call)),
  }));
}

/** A store that orders what it sees in a way of its own. */
function ordering(order: (inner: ExecutionStore) => (view: ExecutionView) => number) {
  return breaking(({ inner }) => {
    const rank = order(inner);
    return {
      async recent({ limit, ...request }, call) {
        const all = await inner.recent({ ...request, ...ALL }, call);
        return all.sort((a, b) => rank(b) - rank(a)).slice(0, limit);
      },
    };
  });
}

/** The reference store, which sees the newest records, or counts the expired ones, wrongly in one way each. */
export const brokenRecency: Readonly<Record<string, (clock: ManualClock) => LedgerStore>> = {
  "fails where there is nothing to see": breaking(({ inner }) => ({
    async recent(request, call) {
      const views = await inner.recent(request, call);
      if (views.length === 0) throw new EvenkeelError("STORE_UNAVAILABLE", "There is nothing.");
      return views;
    },
  })),
  "sees the oldest first": seeing((views) => views.reverse()),
  "sees more than it is asked for": breaking(({ inner }) => ({
    recent: (request, call) => inner.recent({ ...request, limit: request.limit + 1 }, call),
  })),
  "sees the newest of those that come first": breaking(({ inner }) => ({
    async recent({ limit, ...request }, call) {
      const all = await inner.recent({ ...request, ...ALL }, call);
      const first = new Set(
        all
          .map(({ id }) => id)
          .sort()
          .slice(0, limit),
      );
      return all.filter(({ id }) => first.has(id));
    },
  })),
  "sees those of one moment in any order": seeing((views) => views.reverse().sort((a, b) => b.createdAt - a.createdAt)),
  "sees those of all operations": breaking(({ inner }) => ({
    recent: ({ limit }, call) => inner.recent({ limit }, call),
  })),
  "sees those of operations that are spelt alike": breaking(({ inner }) => ({
    async recent({ limit, operation }, call) {
      const all = await inner.recent(ALL, call);
      const isAsked = (view: ExecutionView) =>
        operation === undefined || view.operation === operation.toLowerCase().trim();
      return all.filter(isAsked).slice(0, limit);
    },
  })),
  "picks out those of one operation after it has cut": breaking(({ inner }) => ({
    async recent({ limit, operation }, call) {
      const views = await inner.recent({ limit }, call);
      return operation === undefined ? views : views.filter((view) => view.operation === operation);
    },
  })),
  "sees those first that were granted last": ordering(
    () =>
      ({ token }) =>
        token,
  ),
  "sees a record where it once was": ordering((inner) => {
    const first = new Map<string, number>();
    const { claim } = inner;
    inner.claim = async (request, call) => {
      const answer = await claim(request, call);
      first.set(request.id, first.get(request.id) ?? first.size);
      return answer;
    };
    return ({ id }) => first.get(id) ?? 0;
  }),
  "sees what has expired": breaking(({ inner }) => {
    const seen = new Map<string, ExecutionView>();
    return {
      async claim(request, call) {
        const answer = await inner.claim(request, call);
        const view = await inner.get(request.id, CALL);
        if (view !== undefined) seen.set(view.id, view);
        return answer;
      },
      async recent({ limit }, call) {
        const now = await inner.recent(ALL, call);
        const gone = [...seen.values()].filter(({ id }) => now.every((view) => view.id !== id));
        return [...now, ...gone].sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? -1 : 1)).slice(0, limit);
      },
    };
  }),
  "sees other tokens than it reads": seeing((views) => views.map((view) => ({ ...view, token: view.token + 1 }))),

  "counts every record": breaking(({ inner }) => ({
    async countExpired(call) {
      const { count } = await inner.countExpired(call);
      return { count: count + (await inner.recent(ALL, call)).length };
    },
  })),
  "deletes what it counts": breaking(({ inner }) => ({
    countExpired: async (call) => ({ count: (await inner.purge(ALL, call)).purged }),
  })),
  "counts no more than one": breaking(({ inner }) => ({
    countExpired: async (call) => ({ count: Math.min(1, (await inner.countExpired(call)).count) }),
  })),
  "counts a record before its end": breaking(({ inner }) => ({
    async countExpired(call) {
      const { count } = await inner.countExpired(call);
      const ending = (await inner.recent(ALL, call)).filter(({ expiresInMs }) => expiresInMs <= 1);
      return { count: count + ending.length };
    },
  })),
  "counts a record only after its end": breaking(({ inner, clock }) => {
    let since = Number.POSITIVE_INFINITY;
    return {
      async countExpired(call) {
        const { count } = await inner.countExpired(call);
        if (count > 0) since = Math.min(since, clock.now());
        return { count: clock.now() > since ? count : 0 };
      },
    };
  }),
  "counts what has ever expired": breaking(({ inner }) => {
    let most = 0;
    return {
      async claim(request, call) {
        most = Math.max(most, (await inner.countExpired(call)).count);
        return inner.claim(request, call);
      },
      async countExpired(call) {
        return { count: Math.max(most, (await inner.countExpired(call)).count) };
      },
    };
  }),
};
