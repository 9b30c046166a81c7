import { Reconciler } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { describe, expect, it } from "vitest";
import { setUpReconciler } from "./set-up.ts";

const VALID = {
  name: "web",
  store: memoryStore(),
  create: async () => {},
  terminate: async () => {},
};

describe("the options of a Reconciler", () => {
  const wrong: readonly [string, unknown][] = [
    ["name", ""],
    ["name", 7],
    ["name", undefined],
    ["store", undefined],
    ["store", {}],
    ["create", undefined],
    ["create", "create"],
    ["terminate", undefined],
    ["forceTerminate", true],
    ["update", {}],
    ["desired", 5],
    ["observe", []],
    ["staleness", {}],
    ["staleness", { assess: true }],
    ["staleness", { assess: () => ({ verdict: "fresh" }), quietMs: -1 }],
    ["staleness", { assess: () => ({ verdict: "fresh" }), graceMs: 0.5 }],
    ["massGuard", true],
    ["massGuard", null],
    ["massGuard", { minRows: 0 }],
    ["massGuard", { rows: 10 }],
    ["replacement", "createFirst"],
    ["surplus", "oldest"],
    ["maxUnavailable", 0],
    ["maxUnavailable", "0%"],
    ["maxUnavailable", "101%"],
    ["maxUnavailable", 1.5],
    ["allowEmpty", "yes"],
    ["resyncIntervalMs", 0],
    ["concurrency", 0],
    ["concurrency", 1.5],
    ["maxActionsPerPass", -1],
    ["terminateGraceMs", Number.NaN],
    ["actionTimeoutMs", Number.POSITIVE_INFINITY],
    ["observeGraceMs", -1],
    ["storeTimeoutMs", "5s"],
    ["leader", {}],
    ["shards", { owns: () => true }],
    ["clock", {}],
    ["random", {}],
    ["onEvent", "log"],
    ["resyncMs", 5],
  ];

  it.each(wrong)("%s: %j is refused by name", (name, value) => {
    const make = () => new Reconciler({ ...VALID, [name]: value } as never);
    expect(make).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining(name) }));
  });

  it.each([[undefined], [null], [7]])("%j are none", (options) => {
    expect(() => new Reconciler(options as never)).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }));
  });

  it("have to fit together: a store call may not outlast a lease", () => {
    expect(() => new Reconciler({ ...VALID, actionTimeoutMs: 1_000, storeTimeoutMs: 1_001 })).toThrow(
      expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining("storeTimeoutMs") }),
    );
    expect(() => new Reconciler({ ...VALID, actionTimeoutMs: 1_000 })).not.toThrow();
    expect(() => new Reconciler({ ...VALID, actionTimeoutMs: 1_000, storeTimeoutMs: 1_000 })).not.toThrow();
  });

  it("may be an instance of a class, whose methods keep their this", async () => {
    class Fleet {
      readonly name = "web";
      readonly store = VALID.store;
      readonly made: string[] = [];
      async create({ id }: { id: string }): Promise<void> {
        this.made.push(id);
      }
      async terminate(): Promise<void> {}
    }
    const fleet = new Fleet();
    const { name, store } = fleet;
    const reconciler = new Reconciler({
      name,
      store,
      create: (resource) => fleet.create(resource),
      terminate: () => fleet.terminate(),
    });
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    expect(fleet.made).toEqual(["web-0"]);
  });

  it("that are changed afterwards change nothing", async () => {
    const { store, clock, fleet } = setUpReconciler();
    const options = { name: "web", store, clock, concurrency: 10, ...fleet.callbacks };
    const reconciler = new Reconciler(options);
    options.name = "other";
    options.concurrency = -1;
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    expect(fleet.ids()).toEqual(["web-0"]);
  });
});

describe("wake()", () => {
  it.each([[""], [7], [null], ["a\u0000"]])("refuses %j", (id) => {
    const { reconciler } = setUpReconciler();
    expect(() => reconciler.wake(id as never)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining("Reconciler.wake") }),
    );
  });

  it("of a resource that nobody knows is harmless", async () => {
    const { reconciler } = setUpReconciler();
    reconciler.wake("nobody");
    await reconciler.setDesired(1);
    expect((await reconciler.reconcile()).converged).toBe(true);
  });
});
