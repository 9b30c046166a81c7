import { memoryStore } from "evenkeel/memory";
import type { ManualClock } from "evenkeel/testing";
import type { LeaseStore, LedgerStore } from "../../src/store.ts";

type Breakage = (inner: LeaseStore, clock: ManualClock) => Partial<LeaseStore>;

function breaking(breakage: Breakage): (clock: ManualClock) => LedgerStore {
  return (clock) => {
    const store = memoryStore({ clock });
    return { ...store, leases: { ...store.leases, ...breakage(store.leases, clock) } };
  };
}

/** The reference store, with its leases broken in one way each. */
export const brokenLeases: Readonly<Record<string, (clock: ManualClock) => LedgerStore>> = {
  "grants a lease to two": breaking((inner) => ({
    async acquire(request, call) {
      const answer = await inner.acquire(request, call);
      if (answer.status === "acquired") return answer;
      return { status: "acquired", epoch: answer.epoch + 1_000, remainingMs: request.durationMs };
    },
  })),
  "starts its epochs anew after a release": breaking((inner) => {
    let offset = 0;
    return {
      async acquire(request, call) {
        const answer = await inner.acquire(request, call);
        if (answer.status === "acquired" && offset === 0) offset = answer.epoch - 1;
        return { ...answer, epoch: answer.epoch - offset };
      },
      renew: (request, call) => inner.renew({ ...request, epoch: request.epoch + offset }, call),
      async release(request, call) {
        const answer = await inner.release({ ...request, epoch: request.epoch + offset }, call);
        offset = 0;
        return answer;
      },
    };
  }),
  "grants its holder the lease anew under any nonce": breaking((inner) => ({
    async acquire(request, call) {
      const view = await inner.get(request.name, call);
      if (view?.holder === request.holder) await inner.release(view, call);
      return inner.acquire(request, call);
    },
  })),
  "lengthens a lease when its nonce comes again": breaking((inner) => ({
    async acquire(request, call) {
      const answer = await inner.acquire(request, call);
      if (answer.status !== "acquired") return answer;
      await inner.renew({ ...request, epoch: answer.epoch }, call);
      return { ...answer, remainingMs: request.durationMs };
    },
  })),
  "revives an epoch when its nonce comes again after the lease": breaking((inner) => {
    const epochs = new Map<string, number>();
    return {
      async acquire(request, call) {
        const answer = await inner.acquire(request, call);
        if (answer.status !== "acquired") return answer;
        const epoch = epochs.get(request.nonce) ?? answer.epoch;
        epochs.set(request.nonce, epoch);
        return { ...answer, epoch };
      },
    };
  }),
  "ignores the epoch on renewal": breaking((inner) => ({
    async renew(request, call) {
      const epoch = (await inner.get(request.name, call))?.epoch ?? request.epoch;
      return inner.renew({ ...request, epoch }, call);
    },
  })),
  "ignores the holder on renewal": breaking((inner) => ({
    async renew(request, call) {
      const holder = (await inner.get(request.name, call))?.holder ?? request.holder;
      return inner.renew({ ...request, holder }, call);
    },
  })),
  "ignores the epoch on release": breaking((inner) => ({
    async release(request, call) {
      const epoch = (await inner.get(request.name, call))?.epoch ?? request.epoch;
      return inner.release({ ...request, epoch }, call);
    },
  })),
  "ignores the holder on release": breaking((inner) => ({
    async release(request, call) {
      const holder = (await inner.get(request.name, call))?.holder ?? request.holder;
      return inner.release({ ...request, holder }, call);
    },
  })),
  "does not count renewals": breaking((inner) => ({
    async get(name, call) {
      const view = await inner.get(name, call);
      return view === undefined ? undefined : { ...view, renewals: 0 };
    },
  })),
  "keeps the duration of the acquisition when a renewal asks for another": breaking((inner) => ({
    async renew(request, call) {
      const durationMs = (await inner.get(request.name, call))?.durationMs ?? request.durationMs;
      return inner.renew({ ...request, durationMs }, call);
    },
  })),
  "takes a prefix for a pattern": breaking((inner) => ({
    async list(prefix, call) {
      const pattern = new RegExp(`^${prefix.replaceAll("%", ".*")}`, "i");
      return (await inner.list("", call)).filter(({ name }) => pattern.test(name));
    },
  })),
  "lists leases by what sorts as text in JavaScript": breaking((inner) => ({
    list: async (prefix, call) => (await inner.list(prefix, call)).sort((a, b) => (a.name < b.name ? -1 : 1)),
  })),
  "knows names without their case": breaking((inner) => {
    const lower = <T extends { name: string }>(request: T): T => ({ ...request, name: request.name.toLowerCase() });
    return {
      acquire: (request, call) => inner.acquire(lower(request), call),
      renew: (request, call) => inner.renew(lower(request), call),
      release: (request, call) => inner.release(lower(request), call),
      get: (name, call) => inner.get(name.toLowerCase(), call),
    };
  }),
  "goes on answering renewals after it was closed": breaking((inner) => ({
    renew: (request, call) => inner.renew(request, call).catch(() => ({ status: "missing" as const })),
    list: (prefix, call) => inner.list(prefix, call).catch(() => []),
  })),
};
