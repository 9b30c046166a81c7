import { memoryStore } from "evenkeel/memory";
import { seededRandom } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { ResourceLedger } from "../../src/resources/resource-ledger.ts";
import type { ResourceState } from "../../src/store.ts";
import { CALL, GROUP, setUp, thrownBy } from "./ledger-set-up.ts";

describe("a ResourceLedger", () => {
  const store = memoryStore();
  it.each([
    [undefined, "options must be an object"],
    [{ group: "g" }, "store must be a LedgerStore with resources"],
    [{ store: {}, group: "g" }, "store must be a LedgerStore with resources"],
    [{ store: { ...store, resources: null }, group: "g" }, "store must be a LedgerStore with resources"],
    [{ store: { ...store, resources: { ...store.resources, list: 7 } }, group: "g" }, "store must be a LedgerStore"],
    [{ store }, "group must be"],
    [{ store, group: "" }, "group must be"],
    [{ store, group: "a\nb" }, "group must be"],
    [{ store, group: "g", clock: {} }, "clock must be a Clock"],
    [{ store, group: "g", random: Math }, "random must be a Random"],
    [{ store, group: "g", storeTimeoutMs: 0 }, "storeTimeoutMs must be a positive whole number of milliseconds"],
    [{ store, group: "g", leaseMs: 1.5 }, "leaseMs must be a positive whole number of milliseconds"],
    [{ store, group: "g", lease: 1 }, "lease is not an option"],
  ])("is refused where an option is wrong (%#)", (options, says) => {
    const make = () => new ResourceLedger(options as never);
    expect(make).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }));
    expect(make).toThrow(`ResourceLedger: ${says}`);
  });

  it("needs no more than a store and a group", async () => {
    const ledger = new ResourceLedger({ store: memoryStore(), group: "g" });
    expect(await ledger.provision("a", { create: async () => {} })).toMatchObject({ created: true });
  });
});

describe("get", () => {
  it("is the newest incarnation, or nothing", async () => {
    const { ledger, write, changeTo } = setUp();
    await changeTo(await write({ state: "PROVISIONED" }), "TERMINATED");
    const { version, createdAt } = await write({ after: 1, spec: '{"size":1}', generation: 4, reason: "Missing" });
    expect(await ledger().get("a")).toEqual({
      group: GROUP,
      id: "a",
      incarnation: 2,
      state: "PENDING",
      spec: { size: 1 },
      generation: 4,
      reason: "Missing",
      createdAt,
      fencingToken: 0,
      version,
    });
    expect(await ledger().get("b")).toBeUndefined();
    expect(await thrownBy(ledger().get(""))).toMatchObject({ code: "INVALID_OPTIONS" });
  });

  it("is RECORD_CORRUPT for a spec that can't be read", async () => {
    const { ledger, write } = setUp();
    await write({ spec: "{" });
    expect(await thrownBy(ledger().get("a"))).toMatchObject({ code: "RECORD_CORRUPT" });
  });

  it("is STORE_UNAVAILABLE within storeTimeoutMs where the store is silent", async () => {
    const { ledger, clock } = setUp({ decide: () => "hangBefore" });
    const thrown = thrownBy(ledger({ storeTimeoutMs: 300 }).get("a"));
    await clock.advance(300);
    expect(await thrown).toMatchObject({ code: "STORE_UNAVAILABLE" });
  });
});

describe("what is desired", () => {
  it("is nothing, of generation 0, as long as nobody has said", async () => {
    const { ledger } = setUp();
    expect(await ledger().desired()).toEqual({ generation: 0, resources: [] });
  });

  it("is what was said last, with its specs; the same set in another order is no new generation", async () => {
    const { ledger } = setUp();
    const said = [
      { id: "b", spec: { at: new Date(5), y: 1 } },
      { id: "a", deletionCost: 2 },
    ];
    expect(await ledger().setDesired(said)).toEqual({ generation: 1 });
    const turned = [
      { deletionCost: 2, id: "a" },
      { spec: { y: 1, at: new Date(5) }, id: "b" },
    ];
    expect(await ledger().setDesired(new Set(turned))).toEqual({ generation: 1 });
    const resources = [
      { id: "a", deletionCost: 2 },
      { id: "b", spec: { at: new Date(5), y: 1 } },
    ];
    expect(await ledger().desired()).toEqual({ generation: 1, resources });
    expect(await ledger().setDesired([{ id: "b", spec: { at: new Date(6), y: 1 } }])).toEqual({ generation: 2 });
    expect(await ledger().setDesired(2)).toEqual({ generation: 3 });
    expect(await ledger().desired()).toEqual({
      generation: 3,
      resources: [{ id: "workers-0" }, { id: "workers-1" }],
    });
    expect(await ledger().setDesired(0)).toEqual({ generation: 4 });
    expect(await ledger().desired()).toEqual({ generation: 4, resources: [] });
  });

  it("is not changed by what is refused", async () => {
    const { ledger, log } = setUp();
    await ledger().setDesired(3);
    const error = await thrownBy(ledger().setDesired([{ id: "web-3" }, { id: "web-3" }]));
    expect(error).toMatchObject({
      code: "INVALID_OPTIONS",
      message: 'ResourceLedger.setDesired: the id "web-3" comes twice.',
    });
    expect(log.count("resources.setDesired")).toBe(1);
    const workers = ledger();
    const refused = thrownBy(workers.setDesired(-1));
    expect(await workers.setDesired(4)).toEqual({ generation: 2 });
    await refused;
  });

  it("is what was said last also where that is short and what was said before it long", async () => {
    const { ledger } = setUp();
    const workers = ledger();
    const long = workers.setDesired(Array.from({ length: 20_000 }, (_, index) => ({ id: `w${index}` })));
    const short = workers.setDesired(1);
    expect(await Promise.all([long, short])).toEqual([{ generation: 1 }, { generation: 2 }]);
    expect((await workers.desired()).resources).toEqual([{ id: "workers-0" }]);
  });

  it("can be said while a leader holds the group elsewhere, again and again, and fences nobody", async () => {
    const { ledger, write, inner, log } = setUp();
    await write({ id: "x" }, 3);
    const api = ledger();
    expect(await api.setDesired(1)).toEqual({ generation: 1 });
    await write({ id: "y" }, 12);
    expect(await api.setDesired(2)).toEqual({ generation: 2 });
    const before = log.total;
    expect(await api.setDesired(3)).toEqual({ generation: 3 });
    // It knows the epoch by now.
    expect(log.total - before).toBe(1);
    expect(await inner.resources.getDesired(GROUP, CALL)).toMatchObject({ epoch: 12 });
    await write({ id: "z" }, 12);
  });

  it("is FENCED where leaders change at each try", async () => {
    let epoch = 0;
    const { ledger, log } = setUp({}, () => ({
      setDesired: async () => {
        epoch += 1;
        return { status: "fenced", epoch };
      },
    }));
    expect(await thrownBy(ledger().setDesired(1))).toMatchObject({ code: "FENCED", retryable: false });
    expect(log.count("resources.setDesired")).toBe(5);
  });

  it.each(["lostReply", "hangAfter", "duplicate", "lostRequest"] as const)(
    "is set once through a %s",
    async (fault) => {
      const { ledger, clock } = setUp({ faults: [{ on: "resources.setDesired", nth: 1, fault }] });
      const set = ledger().setDesired(5);
      await clock.advance(5_000);
      expect(await set).toEqual({ generation: 1 });
    },
  );

  it("is RECORD_CORRUPT where the text is damaged", async () => {
    const { ledger, inner } = setUp();
    await inner.resources.setDesired({ group: GROUP, epoch: 0, nonce: "n", desired: '["b","a"]' }, CALL);
    expect(await thrownBy(ledger().desired())).toMatchObject({ code: "RECORD_CORRUPT" });
    await inner.resources.setDesired({ group: GROUP, epoch: 0, nonce: "m", desired: '[["a","{"]]' }, CALL);
    expect(await thrownBy(ledger().desired())).toMatchObject({ code: "RECORD_CORRUPT" });
  });
});

describe("list", () => {
  const names = async (rows: AsyncIterable<{ id: string; incarnation: number }>): Promise<string[]> => {
    const listed: string[] = [];
    for await (const { id, incarnation } of rows) listed.push(`${id}/${incarnation}`);
    return listed;
  };

  async function fleet() {
    const world = setUp();
    const { write, changeTo } = world;
    await changeTo(await write({ id: "a", state: "PROVISIONED" }), "TERMINATED");
    await write({ id: "a", after: 1, state: "PROVISIONED" });
    await changeTo(await write({ id: "b", state: "PROVISIONED" }), "FAILED");
    await write({ id: "c" });
    return world;
  }

  it("has all incarnations that are kept, tombstones included", async () => {
    const { ledger } = await fleet();
    expect(await names(ledger().list())).toEqual(["a/1", "a/2", "b/1", "c/1"]);
  });

  it.each([
    [{ states: ["PROVISIONED", "FAILED"] }, ["a/2", "b/1"]],
    [{ states: [] }, []],
    [{ limit: 3 }, ["a/1", "a/2", "b/1"]],
    [{ limit: 100 }, ["a/1", "a/2", "b/1", "c/1"]],
    [{ after: "a" }, ["b/1", "c/1"]],
    [{ after: "aa" }, ["b/1", "c/1"]],
    [{ after: "c" }, []],
    [{ after: "a", limit: 1 }, ["b/1"]],
    [{ states: undefined, limit: undefined, after: undefined }, ["a/1", "a/2", "b/1", "c/1"]],
  ] as const)("has of %j what it says", async (filter, expected) => {
    const { ledger } = await fleet();
    expect(await names(ledger().list(filter as { states?: ResourceState[] }))).toEqual(expected);
  });

  it("is read in pages of 1,000 while it is iterated, and begins anew each time", async () => {
    const { ledger, inner, log } = setUp();
    const writes = Array.from({ length: 2_500 }, (_, index) => {
      const row = { kind: "create", id: `w${String(index).padStart(4, "0")}`, state: "PENDING" } as const;
      return { ...row, after: 0, generation: 1, attempt: 1, nonce: `n${index}` };
    });
    // A page ends between the incarnations of one id.
    const second = { ...writes[999], after: 1, nonce: "second" } as (typeof writes)[number];
    await inner.resources.apply({ group: GROUP, epoch: 0, writes: [...writes, second] }, CALL);
    const list = ledger().list({ limit: 2_200 });
    expect(log.total).toBe(0);
    const all = await names(list);
    expect(all).toHaveLength(2_200);
    expect(new Set(all).size).toBe(2_200);
    expect(all.slice(999, 1_002)).toEqual(["w0999/1", "w0999/2", "w1000/1"]);
    const limits = log.calls.map(({ request }) => (request as { limit: number }).limit);
    expect(limits).toEqual([1_000, 1_000, 200]);
    for await (const { id } of list) {
      expect(id).toBe("w0000");
      break;
    }
    expect(log.total).toBe(4);
    expect(await names(ledger().list())).toHaveLength(2_501);
  });

  it.each([
    [null, "options must be an object"],
    [{ states: ["GONE"] }, "GONE is not a state"],
    [{ states: ["PENDING", "pending"] }, "pending is not a state"],
    [{ states: "PENDING" }, "states must be an array"],
    [{ limit: 0 }, "limit must be a positive whole number"],
    [{ limit: 1.5 }, "limit must be a positive whole number"],
    [{ after: "" }, "after must be"],
    [{ state: "PENDING" }, "state is not an option"],
  ])("is refused at once for %j", (filter, says) => {
    const { ledger } = setUp();
    const workers = ledger({ random: seededRandom(1) });
    expect(() => workers.list(filter as never)).toThrow(`ResourceLedger.list: ${says}`);
  });

  it("is RECORD_CORRUPT where a row can't be read, and not one row shorter", async () => {
    const { ledger } = setUp({}, () => ({ list: async () => [{ id: "a" }] as never }));
    expect(await thrownBy(names(ledger().list()))).toMatchObject({ code: "RECORD_CORRUPT" });
  });
});
