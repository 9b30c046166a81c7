import { describe, expect, it } from "vitest";
import type { LedgerStore } from "../../src/index.ts";
import type { ResourceRow, ResourceStore } from "../../src/store.ts";
import { type Mutation, simulateReconcilers } from "./reconciler-run.ts";

const SEEDS = Array.from({ length: 150 }, (_, seed) => seed);
/** Within so many seeds whatever is wrong has to show. */
const MUTANT_SEEDS = 30;

describe("reconcilers that die, stand still and lose messages, over an API that takes its time", () => {
  it.each(SEEDS)("keep every invariant, seed %i", async (seed) => {
    const { violations, timers } = await simulateReconcilers(seed);
    expect(violations).toEqual([]);
    expect(timers, "I20: nothing is left").toBe(0);
  });

  it.each([1, 20, 26])("do the same for the same seed, %i", async (seed) => {
    const first = await simulateReconcilers(seed);
    expect(first.deaths).toBeGreaterThan(0);
    expect(first.trace.length).toBeGreaterThan(100);
    expect((await simulateReconcilers(seed)).trace).toEqual(first.trace);
  });
});

/** A store that does some of its operations in its own way. */
function withResources(store: LedgerStore, changes: (inner: ResourceStore) => Partial<ResourceStore>): LedgerStore {
  return { ...store, resources: { ...store.resources, ...changes(store.resources) } };
}

function withoutLease({ leaseExpiresAt: _, ...row }: ResourceRow): ResourceRow {
  return row;
}

const MUTANTS: readonly [what: string, seenAs: RegExp, mutation: Mutation][] = [
  [
    "a store that writes whatever version a row has",
    /had not read it|while another held it|I15/,
    {
      store: (store) =>
        withResources(store, (inner) => ({
          async apply(request, call) {
            const rows = await inner.list({ group: request.group, limit: 1_000 }, call);
            const writes = request.writes.map((write) => {
              if (write.kind === "create") return write;
              const row = rows.find(({ id, incarnation }) => id === write.id && incarnation === write.incarnation);
              return { ...write, expectedVersion: row?.version ?? write.expectedVersion };
            });
            return inner.apply({ ...request, writes }, call);
          },
        })),
    },
  ],
  [
    "a store that keeps leases to itself",
    /while another held it|I15/,
    {
      store: (store) =>
        withResources(store, (inner) => ({
          async changedSince(request, call) {
            const changed = await inner.changedSince(request, call);
            return { ...changed, rows: changed.rows.map(withoutLease) };
          },
        })),
    },
  ],
  [
    "a store that forgets to tell of some rows",
    /I15|I22/,
    {
      store: (store) =>
        withResources(store, (inner) => ({
          async changedSince(request, call) {
            const changed = await inner.changedSince(request, call);
            return { ...changed, rows: changed.rows.filter(({ state }) => state !== "PENDING") };
          },
        })),
    },
  ],
  [
    "a store that answers beats and does not keep them",
    /I22/,
    {
      store: (store) =>
        withResources(store, () => ({
          heartbeat: async ({ beats }) => beats.map(() => ({ status: "accepted" as const })),
        })),
    },
  ],
  [
    "a store that tells the living to stop",
    /was told to stop/,
    {
      store: (store) =>
        withResources(store, () => ({
          heartbeat: async ({ beats }) => beats.map(() => ({ status: "superseded" as const })),
        })),
    },
  ],
  [
    "a create that takes another key each time",
    /is made twice/,
    {
      callbacks: ({ create, ...others }) => {
        let calls = 0;
        return {
          ...others,
          create: (resource, ctx) => {
            calls += 1;
            return create(resource, { ...ctx, idempotencyKey: `${ctx.idempotencyKey}-${calls}-${ctx.fencingToken}` });
          },
        };
      },
    },
  ],
  [
    "a terminate that does nothing",
    /I22|I23/,
    { callbacks: (callbacks) => ({ ...callbacks, terminate: async () => {} }) },
  ],
  [
    "a create that makes nothing",
    /I22/,
    { callbacks: (callbacks) => ({ ...callbacks, create: async () => ({ externalId: "x1" }) }) },
  ],
];

describe("the simulation sees", () => {
  it.each(MUTANTS)("%s", async (_, seenAs, mutation) => {
    for (let seed = 0; seed < MUTANT_SEEDS; seed += 1) {
      const { violations } = await simulateReconcilers(seed, mutation);
      if (violations.length > 0) return expect(violations.join("\n")).toMatch(seenAs);
    }
    throw new Error("nothing was seen");
  });
});
