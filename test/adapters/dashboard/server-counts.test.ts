import { describe, expect, it } from "vitest";
import type { GroupSummary } from "../../../adapters/dashboard/dashboard-update.ts";
import { History } from "../../../adapters/dashboard/history.ts";
import { sparedLook } from "../../../adapters/dashboard/spared-look.ts";
import { StateCounter } from "../../../adapters/dashboard/state-counter.ts";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import { type LedgerStore, Reconciler, type StoreCall } from "../../../src/index.ts";
import { CallLog, faultyStore } from "../../../src/testing/index.ts";
import { become, putRows } from "./ledger-rows.ts";

const CALL = { timeoutMs: 60_000 };
const NONE = { PENDING: 0, PROVISIONED: 0, FAILED: 0, TERMINATING: 0, TERMINATED: 0 };

function counted(store: LedgerStore) {
  const log = new CallLog();
  const logged = faultyStore(store, { onCall: log.onCall });
  const read = <T>(send: (store: LedgerStore, call: StoreCall) => Promise<T>) => send(logged, CALL);
  return { log, read };
}

describe("a count of states", () => {
  it("of more rows than can be remembered goes over all of them, so many a look", async () => {
    const store = memoryStore();
    const { log, read } = counted(store);
    await putRows(store, "web", 95);
    const counter = new StateCounter(read, "web", { page: 10, mostFollowed: 50, pagesALook: 4 });
    expect(await counter.count(0)).toBeUndefined();
    expect(await counter.count(1)).toBeUndefined();
    expect(await counter.count(2)).toEqual({ ...NONE, PROVISIONED: 95 });
    // Behind where the next round is by then: it is seen in the round after.
    await become(store, "web", "web-94", "FAILED");
    log.clear();
    for (const at of [3, 4]) expect(await counter.count(at)).toEqual({ ...NONE, PROVISIONED: 95 });
    expect(await counter.count(5)).toEqual({ ...NONE, PROVISIONED: 94, FAILED: 1 });
    expect(log.total).toBe(10);
    expect(log.count("resources.changedSince")).toBe(0);
  });

  it("follows what is written, and what becomes of a ledger that is another", async () => {
    const stores = [memoryStore(), memoryStore()] as const;
    let present: LedgerStore = stores[0];
    const counter = new StateCounter((send) => send(present, CALL), "web");
    await putRows(stores[0], "web", 2_500);
    expect(await counter.count(0)).toEqual({ ...NONE, PROVISIONED: 2_500 });
    await become(stores[0], "web", "web-7", "TERMINATING");
    expect(await counter.count(1)).toEqual({ ...NONE, PROVISIONED: 2_499, TERMINATING: 1 });
    await become(stores[0], "web", "web-7", "TERMINATED");
    expect(await counter.count(2)).toEqual({ ...NONE, PROVISIONED: 2_499, TERMINATED: 1 });
    await putRows(stores[1], "web", 3);
    present = stores[1];
    expect(await counter.count(3)).toEqual({ ...NONE, PROVISIONED: 3 });
  });

  it("keeps what it knows while the ledger fails", async () => {
    const inner = memoryStore();
    await putRows(inner, "web", 3);
    let fails = false;
    const store = faultyStore(inner, { decide: () => (fails ? "lostReply" : undefined) });
    const counter = new StateCounter((send) => send(store, CALL), "web");
    await counter.count(0);
    fails = true;
    await expect(counter.count(70_000)).rejects.toThrow("The connection was lost");
    expect(counter.last).toEqual({ ...NONE, PROVISIONED: 3 });
    fails = false;
    await become(inner, "web", "web-0", "FAILED");
    expect(await counter.count(70_001)).toEqual({ ...NONE, PROVISIONED: 2, FAILED: 1 });
  });
});

describe("a look with a large answer", () => {
  it("is left out the more often the larger it was", async () => {
    let looks = 0;
    let bytes = 3 * 1_048_576;
    const look = sparedLook(
      async () => (looks += 1),
      () => bytes,
    );
    const answers: number[] = [];
    for (let n = 0; n < 5; n += 1) answers.push(await look());
    expect(answers).toEqual([1, 1, 1, 1, 2]);
    bytes = 10;
    for (let n = 0; n < 4; n += 1) await look();
    expect(await look()).toBe(4);
    bytes = Number.MAX_SAFE_INTEGER;
    await look();
    const before = looks;
    for (let n = 0; n < 31; n += 1) await look();
    expect(looks).toBe(before + 1);
  });
});

describe("what was seen", () => {
  const group = (name: string, desired: number, provisioned: number): GroupSummary => ({
    ...{ name, desired, generation: 1, observedGeneration: 1, conditions: [], isHere: false },
    observed: { ...NONE, PROVISIONED: provisioned },
  });
  const fresh = new Set(["web", "db"]);
  const shape = (history: History, name = "web") =>
    history.byGroup()[name]?.map(({ at, desired, observed }) => [at, desired, observed]);

  it("is kept as the first and the last of what is alike, for an hour", () => {
    const history = new History();
    for (let at = 0; at <= 10_000; at += 2_000) history.add(at, [group("web", 3, 3)], fresh);
    history.add(12_000, [group("web", 5, 3)], fresh);
    history.add(14_000, [group("web", 5, 5)], fresh);
    history.add(16_000, [group("web", 5, 5)], fresh);
    expect(shape(history)).toEqual([
      [0, 3, 3],
      [10_000, 3, 3],
      [12_000, 5, 3],
      [14_000, 5, 5],
      [16_000, 5, 5],
    ]);
    // What goes on over the edge of the hour begins at it.
    history.add(3_600_000 + 15_000, [group("web", 5, 5)], fresh);
    expect(shape(history)).toEqual([
      [15_000, 5, 5],
      [3_615_000, 5, 5],
    ]);
  });

  it("has gaps where nobody looked, or could", () => {
    const history = new History();
    history.add(0, [group("web", 3, 3)], fresh);
    history.add(2_000, [group("web", 3, 3)], new Set());
    history.add(4_000, [group("web", 3, 3)], fresh);
    history.interrupt();
    history.interrupt();
    expect(shape(history)).toEqual([
      [0, 3, 3],
      [2_000, null, null],
      [4_000, 3, 3],
      [4_001, null, null],
    ]);
  });

  it("is bounded, and of groups that are gone it is forgotten", () => {
    const history = new History();
    const groups = Array.from({ length: 100 }, (_, n) => `group-${n}`);
    const names = new Set(groups);
    for (let at = 0; at < 600; at += 1)
      history.add(
        at,
        groups.map((name) => group(name, at, at)),
        names,
      );
    const points = Object.values(history.byGroup()).map(({ length }) => length);
    expect(points.reduce((a, b) => a + b)).toBe(20_000);
    expect(shape(history, "group-7")?.at(-1)).toEqual([599, 599, 599]);
    history.add(600, [group("web", 1, 1)], fresh);
    expect(Object.keys(history.byGroup())).toEqual(["web"]);
  });
});

it("a group that its reconciler can't tell of is shown as the ledger has it", async () => {
  const inner = memoryStore();
  const reconciler = new Reconciler({ name: "web", store: inner, create: async () => {}, terminate: async () => {} });
  await reconciler.setDesired(2);
  await reconciler.reconcile();
  const { groupHere } = await import("../../../adapters/dashboard/group-look.ts");
  const failing = Object.assign(Object.create(reconciler) as Reconciler, {
    status: () => Promise.reject(new Error("no")),
    lastPass: () => reconciler.lastPass(),
  });
  const { summary, failure } = await groupHere("web", failing, (send) => send(inner, CALL)).look(0);
  expect(failure).toEqual(new Error("no"));
  expect(summary).toMatchObject({
    desired: 2,
    observed: { PROVISIONED: 2 },
    isHere: true,
    converged: true,
    heldTotal: 0,
  });
});
