import type { ShardGate } from "evenkeel";
import { describe, expect, it } from "vitest";
import type { ApplyRequest } from "../../src/store.ts";
import { conditionsOf, deferred, eventsOf, heldOf, settle } from "./reconciler-kit.ts";
import { setUpReconciler } from "./set-up.ts";

/** A gate that owns all, under one epoch; `parts` are what it does otherwise. */
function gateOf(parts: Partial<Record<keyof ShardGate, unknown>> = {}): ShardGate {
  return { owns: () => true, epochOf: () => 3, ...parts } as ShardGate;
}

function setUp(shards: ShardGate) {
  const writes: string[] = [];
  return {
    writes,
    ...setUpReconciler(
      { shards, resyncIntervalMs: 3_600_000 },
      {
        onCall: ({ operation, request }) => {
          if (operation !== "resources.apply") return;
          const { fences = [], writes: batch } = request as ApplyRequest;
          for (const { id, fence } of batch)
            writes.push(`${id}: ${fence} = ${fences.find(({ name }) => name === fence)?.epoch}`);
        },
      },
    ),
  };
}

const fails = (): never => {
  throw new Error("no");
};
const rejects = (): Promise<never> => Promise.reject(new Error("no"));

describe("a gate of one's own with owns and epochOf alone", () => {
  it("fences slot by slot, and makes nothing known before", async () => {
    const { reconciler, ledger, writes, storeCalls } = setUp(gateOf({ epochOf: (id: string) => id.length }));
    await ledger.setDesired([{ id: "a" }, { id: "bcd" }]);
    storeCalls.length = 0;
    await reconciler.reconcile();
    expect(storeCalls.indexOf("resources.apply")).toBeGreaterThan(0);
    expect(new Set(writes)).toEqual(new Set(["a: slot a = 1", "bcd: slot bcd = 3"]));
  });

  it("may have no epochs: then nothing is refused", async () => {
    const { reconciler, ledger, writes } = setUp(gateOf({ epochOf: () => undefined }));
    await ledger.setDesired([{ id: "a" }]);
    expect((await reconciler.reconcile()).converged).toBe(true);
    expect(new Set(writes)).toEqual(new Set(["a: slot a = 0"]));
  });

  it("is refused in a slot that another has had under a higher epoch", async () => {
    const { reconciler, ledger, store, fleet } = setUp(gateOf());
    await ledger.setDesired([{ id: "a" }, { id: "b" }]);
    const fences = [{ name: "slot a", epoch: 4 }];
    await store.resources.apply({ group: "web", epoch: 0, writes: [], fences }, { timeoutMs: 1_000 });
    const report = await reconciler.reconcile();
    expect(report.actions.map(({ id, result }) => `${id} ${result}`).sort()).toEqual(["a fenced", "b done"]);
    expect(fleet.ids()).toEqual(["b"]);
    expect(conditionsOf(report)).toHaveProperty("Fenced");
  });

  it("may tell the slots that it holds, whose epochs are made known first", async () => {
    const { reconciler, ledger, store } = setUp(gateOf({ held: () => [{ shard: "b", epoch: 3 }] }));
    await ledger.setDesired([{ id: "a" }]);
    await reconciler.reconcile();
    const fences = [{ name: "slot b", epoch: 2 }];
    const request = { group: "web", epoch: 0, writes: [], fences };
    expect(await store.resources.apply(request, { timeoutMs: 1_000 })).toMatchObject({ fences: [{ epoch: 3 }] });
  });

  it("may name its shards by texts", async () => {
    const { reconciler, ledger, writes } = setUp(gateOf({ shardOf: (id: string) => `of ${id}` }));
    await ledger.setDesired([{ id: "a" }]);
    await reconciler.reconcile();
    expect(new Set(writes)).toEqual(new Set(["a: shard of a = 3"]));
  });
});

describe("a gate that can't be relied on", () => {
  it.each([
    ["owns throws", { owns: fails }],
    ["owns answers a promise", { owns: async () => true }],
    ["owns rejects", { owns: rejects }],
    ["owns answers something", { owns: () => "yes" }],
  ])("owns nothing: %s", async (_, parts) => {
    const { reconciler, ledger, fleet, writes } = setUp(gateOf(parts));
    await ledger.setDesired([{ id: "a" }]);
    expect(heldOf(await reconciler.reconcile())).toEqual(["create a: notOwner"]);
    expect(fleet.calls).toEqual([]);
    expect(writes).toEqual([]);
  });

  it.each([
    ["epochOf throws", { epochOf: fails }],
    ["epochOf answers a promise", { epochOf: async () => 3 }],
    ["epochOf rejects", { epochOf: rejects }],
    ["epochOf answers a text", { epochOf: () => "3" }],
    ["epochOf answers a fraction", { epochOf: () => 1.5 }],
    ["epochOf answers what is below 0", { epochOf: () => -1 }],
    ["epochOf answers NaN", { epochOf: () => Number.NaN }],
    ["shardOf throws", { shardOf: fails }],
    ["shardOf answers a promise", { shardOf: async () => 3 }],
    ["shardOf rejects", { shardOf: rejects }],
    ["shardOf answers nothing", { shardOf: () => undefined }],
    ["shardOf answers NaN", { shardOf: () => Number.NaN }],
    ["shardOf answers half a character", { shardOf: () => "\ud800" }],
  ])("acts on nothing, and on other slots as always: %s", async (_, parts) => {
    const ask = Object.entries(parts).map(([name, broken]) => {
      const sound = { epochOf: () => 3, shardOf: (id: string) => id }[name] as (id: string) => unknown;
      return [name, (id: string) => (id === "a" ? (broken as () => unknown)() : sound(id))];
    });
    const { reconciler, ledger, fleet, clock, events } = setUp(gateOf(Object.fromEntries(ask)));
    await ledger.setDesired([{ id: "a" }, { id: "b" }]);
    const report = await reconciler.reconcile();
    expect(report.actions.map(({ id, result }) => `${id} ${result}`).sort()).toEqual(["a fenced", "b done"]);
    expect(fleet.ids()).toEqual(["b"]);
    await reconciler.explain("a");
    reconciler.start();
    await clock.advance(10_000);
    await reconciler.stop();
    expect(eventsOf(events, "pass_failed")).toEqual([]);
    expect(fleet.ids()).toEqual(["b"]);
  });

  it.each([
    ["throws", fails],
    ["answers a promise", async () => []],
    ["rejects", rejects],
    ["answers no list", () => 7],
    ["answers what is no shard", () => [null]],
    ["answers a shard with no epoch", () => [{ shard: 1 }]],
    ["answers an epoch that is none", () => [{ shard: 1, epoch: Number.NaN }]],
  ])("ends the pass with its error, and acts on nothing, where held %s", async (_, held) => {
    const { reconciler, ledger, fleet, writes, clock, events } = setUp(gateOf({ held, shardOf: () => 1 }));
    await ledger.setDesired([{ id: "a" }]);
    const failure = await reconciler.reconcile().then(
      () => "no failure",
      (error: unknown) => error,
    );
    expect(failure).toBeInstanceOf(Error);
    expect(failure).not.toHaveProperty("code");
    reconciler.start();
    await clock.advance(1_000);
    expect(eventsOf(events, "pass_failed").length).toBeGreaterThan(0);
    await reconciler.stop();
    expect(fleet.calls).toEqual([]);
    expect(writes).toEqual([]);
    // Those who only ask don't need it.
    expect((await reconciler.status()).desired).toBe(1);
  });

  it("makes a shard known under the higher of two epochs that it tells", async () => {
    const held = () => [
      { shard: 1, epoch: 5 },
      { shard: 1, epoch: 3 },
    ];
    const { reconciler, ledger } = setUp(gateOf({ held, shardOf: () => 1, epochOf: () => 5 }));
    await ledger.setDesired([{ id: "a" }]);
    expect((await reconciler.reconcile()).converged).toBe(true);
  });
});

describe("a gate that runs actions itself", () => {
  it.each([
    ["rejects", rejects],
    ["throws", fails],
    ["resolves", async () => {}],
    ["answers at once", () => 7],
  ])("and %s without having begun one fences the step, and nothing was done", async (_, run) => {
    const { reconciler, ledger, fleet, writes } = setUp(gateOf({ run }));
    await ledger.setDesired([{ id: "a" }]);
    expect((await reconciler.reconcile()).actions).toMatchObject([{ id: "a", result: "fenced" }]);
    expect(fleet.calls).toEqual([]);
    expect(writes).toEqual([]);
  });

  it.each([
    [
      "rejects afterwards",
      async (_: string, action: () => Promise<unknown>) => {
        await action();
        throw new Error("no");
      },
    ],
    [
      "rejects while it runs",
      async (_: string, action: () => Promise<unknown>) => {
        void action();
        throw new Error("no");
      },
    ],
    ["does not wait for it", (_: string, action: () => Promise<unknown>) => void action()],
    ["never settles", (_: string, action: () => Promise<unknown>) => action().then(() => new Promise(() => {}))],
    ["runs it twice", (_: string, action: () => Promise<unknown>) => Promise.all([action(), action()])],
  ])("and %s has what was done reported as it was, once", async (_, run) => {
    const { reconciler, ledger, fleet, events } = setUp(gateOf({ run }));
    await ledger.setDesired([{ id: "a" }]);
    const report = await reconciler.reconcile();
    expect(report).toMatchObject({ converged: true, actions: [{ id: "a", result: "done" }] });
    expect(fleet.calls).toEqual(["create a/1"]);
    expect(eventsOf(events, "action_finished")).toHaveLength(1);
    await reconciler.stop();
  });

  it("and begins an action that it had refused does nothing", async () => {
    let late: (() => Promise<unknown>) | undefined;
    const run = async (_: string, action: () => Promise<unknown>) => {
      late = action;
      throw new Error("no");
    };
    const { reconciler, ledger, fleet, writes } = setUp(gateOf({ run }));
    await ledger.setDesired([{ id: "a" }]);
    await reconciler.reconcile();
    await expect(late?.()).rejects.toThrow();
    expect(fleet.calls).toEqual([]);
    expect(writes).toEqual([]);
  });

  it("has what it runs recorded while the slot is handed over, and not once it is lost, or another's", async () => {
    for (const [next, result] of [
      [3, "done"],
      [undefined, "fenced"],
      [4, "fenced"],
    ] as const) {
      let isOpen = true;
      let epoch: number | undefined = 3;
      const created = deferred();
      const run = (_: string, action: () => Promise<unknown>) => action();
      const shards = gateOf({ run, owns: () => isOpen, epochOf: () => epoch });
      const { reconciler, ledger, clock } = setUpReconciler({ shards, create: () => created.promise });
      await ledger.setDesired([{ id: "a" }]);
      const reported = reconciler.reconcile();
      await settle(clock);
      isOpen = false;
      epoch = next;
      created.resolve();
      expect((await reported).actions).toMatchObject([{ id: "a", result }]);
      expect(await ledger.get("a")).toMatchObject({ state: result === "done" ? "PROVISIONED" : "PENDING" });
      // Nothing new begins.
      await ledger.setDesired([]);
      expect((await reconciler.reconcile()).actions).toEqual([]);
    }
  });
});

describe("a gate that tells of changes", () => {
  it("wakes the loop at once, and no more once it is stopped", async () => {
    const listeners = new Set<() => void>();
    const owned = new Set<string>();
    const onChange = (listener: () => void) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    };
    const { reconciler, ledger, clock, fleet } = setUp(gateOf({ owns: (id: string) => owned.has(id), onChange }));
    await ledger.setDesired([{ id: "a" }]);
    expect(listeners.size).toBe(0);
    for (let time = 0; time < 3; time += 1) {
      reconciler.start();
      reconciler.start();
      expect(listeners.size).toBe(1);
      await settle(clock);
      await reconciler.stop();
      expect(listeners.size).toBe(0);
    }
    reconciler.start();
    await settle(clock);
    expect(fleet.ids()).toEqual([]);
    owned.add("a");
    for (const listener of listeners) listener();
    await settle(clock);
    expect(fleet.ids()).toEqual(["a"]);
    await reconciler.stop();
  });

  it.each([
    ["throws", fails],
    ["answers nothing", () => {}],
    ["answers a promise", async () => () => {}],
    ["rejects", rejects],
    ["answers what throws", () => fails],
  ])("and %s keeps nobody from starting and stopping", async (_, onChange) => {
    const { reconciler, ledger, clock, fleet } = setUp(gateOf({ onChange }));
    await ledger.setDesired([{ id: "a" }]);
    reconciler.start();
    await settle(clock);
    expect(fleet.ids()).toEqual(["a"]);
    await reconciler.stop();
  });
});
