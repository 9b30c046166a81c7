import { describe, expect, it } from "vitest";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import {
  LeaderElector,
  Reconciler,
  ResourceLedger,
  RetryAfter,
  ShardCoordinator,
  withIdempotency,
} from "../../../src/index.ts";
import { CallLog, faultyStore, ManualClock, Partition } from "../../../src/testing/index.ts";
import { become, putRows } from "./ledger-rows.ts";
import { endLater, servedBoard } from "./server-board.ts";

const CALL = { timeoutMs: 60_000 };

describe("a window over 10,000 rows", () => {
  it("has the asked states in the order of their ids, page by page, and all of them", async () => {
    const { store, server } = await servedBoard();
    await putRows(store, "web", 10_000);
    for (const at of [3, 1_500, 9_999]) await become(store, "web", `web-${at}`, "FAILED");
    const seen: string[] = [];
    let path: string | undefined = "/events?group=web&states=PROVISIONED&limit=200";
    for (let after: string | undefined; path !== undefined; ) {
      const watching = server.watch(path);
      await expect.poll(() => watching.last?.window, { interval: 2 }).toBeDefined();
      watching.leave();
      const window = watching.last?.window;
      expect(window).toMatchObject({ group: "web", total: 9_997 });
      seen.push(...(window?.rows.map(({ id }) => id) ?? []));
      after = window?.next;
      path = after === undefined ? undefined : `/events?group=web&states=PROVISIONED&limit=200&after=${after}`;
    }
    expect(seen).toHaveLength(9_997);
    expect(seen).toEqual([...new Set(seen)].sort());
    const failed = server.watch("/events?group=web&states=FAILED,PENDING");
    await expect.poll(() => failed.last?.window?.rows.map(({ id }) => id)).toEqual(["web-1500", "web-3", "web-9999"]);
    expect(failed.last?.window?.next).toBeUndefined();
  });

  it("costs a look what changed, and not what there is, however many watch", async () => {
    const clock = new ManualClock();
    const log = new CallLog();
    const inner = memoryStore({ clock });
    const { server } = await servedBoard({
      store: faultyStore(inner, { onCall: log.onCall }),
      clock,
      intervalMs: 2_000,
    });
    await putRows(inner, "web", 10_000);
    const watching = Array.from({ length: 20 }, (_, n) => server.watch(`/events?group=web&limit=${(n % 2) + 1}`));
    for (const page of watching) await expect.poll(() => page.updates.length).toBeGreaterThan(0);
    for (const at of [3, 4, 5]) await become(inner, "web", `web-${at}`, "FAILED");
    log.clear();
    await clock.advance(2_000);
    for (const page of watching)
      await expect.poll(() => page.last?.groups?.[0]?.observed).toMatchObject({ PROVISIONED: 9_997, FAILED: 3 });
    // One for the group, and one for each of two windows.
    expect(log.count("resources.changedSince")).toBe(1);
    expect(log.count("resources.list")).toBe(2);
    expect(log.total).toBeLessThan(12);
  });

  it("forgets in time what was purged", async () => {
    const clock = new ManualClock();
    const store = memoryStore({ clock });
    const { server } = await servedBoard({ store, clock, intervalMs: 2_000 });
    await putRows(store, "web", 10, "TERMINATED");
    await putRows(store, "web2", 1);
    const watching = server.watch();
    const counted = () => watching.last?.groups?.[0]?.observed?.TERMINATED;
    await expect.poll(counted).toBe(10);
    await store.resources.purge({ group: "web", ageMs: 0, limit: 10 }, CALL);
    await clock.advance(70_000);
    await expect.poll(counted).toBe(0);
  });
});

describe("what a page is told", () => {
  it("of a group is what its reconciler knows, with what is held and why", async () => {
    const store = memoryStore();
    const reconciler = new Reconciler({
      name: "web",
      store,
      create: () => Promise.reject(new RetryAfter(3_600_000)),
      terminate: async () => {},
    });
    await reconciler.setDesired(2);
    await reconciler.reconcile();
    const { server } = await servedBoard({ store, reconcilers: [reconciler] });
    await new ResourceLedger({ store, group: "elsewhere" }).setDesired([{ id: "a" }, { id: "b" }, { id: "c" }]);
    const watching = server.watch("/events?group=web");
    await expect.poll(() => watching.last).toBeDefined();
    const [elsewhere, web] = watching.last?.groups ?? [];
    expect(elsewhere).toEqual({
      ...{ name: "elsewhere", generation: 1, observedGeneration: 0, desired: 3, conditions: [], isHere: false },
      observed: { PENDING: 0, PROVISIONED: 0, FAILED: 0, TERMINATING: 0, TERMINATED: 0 },
    });
    expect(web).toMatchObject({
      ...{
        name: "web",
        generation: 1,
        observedGeneration: 1,
        desired: 2,
        converged: false,
        isHere: true,
        paused: false,
      },
      heldTotal: reconciler.lastPass()?.report.held.length,
      lastPassAt: reconciler.lastPass()?.at,
    });
    expect(web?.heldTotal).toBeGreaterThan(0);
    expect(web?.held?.[0]).toEqual({
      ...{ type: "create", id: expect.stringMatching(/^web-/), incarnation: expect.any(Number) },
      ...{ reason: expect.any(String), heldBy: "backoff" },
    });
    reconciler.pause();
    await expect.poll(() => watching.last?.groups?.[1]?.paused).toBe(true);
  });

  it("of a row is its state and the age of its heartbeat, by the store's clock", async () => {
    const clock = new ManualClock();
    // A store that is an hour ahead of the server.
    const ahead = new ManualClock(clock.now() + 3_600_000);
    const store = memoryStore({ clock: ahead });
    const { server } = await servedBoard({ store, clock });
    await putRows(store, "web", 2);
    await store.resources.heartbeat({ group: "web", beats: [{ id: "web-1" }] }, CALL);
    await ahead.advance(7_000);
    const watching = server.watch("/events?group=web");
    await expect.poll(() => watching.last?.window?.rows).toHaveLength(2);
    const [silent, beating] = watching.last?.window?.rows ?? [];
    expect(silent).toEqual({
      ...{ id: "web-0", incarnation: 1, state: "PROVISIONED", generation: 1, attempt: 1 },
      stateChangedAt: clock.now() - 7_000,
    });
    expect(beating?.heartbeatAgeMs).toBe(7_000);
  });

  it("of executions is what became of them, and of leases who holds them", async () => {
    const { store, server } = await servedBoard();
    const pay = withIdempotency(async () => "paid", { store, operation: "pay" });
    await pay("x", { key: "k-1", scope: "tenant-1" });
    let finish = (): void => {};
    const slow = withIdempotency(() => new Promise<string>((resolve) => (finish = () => resolve("done"))), {
      ...{ store, operation: "slow" },
    });
    const running = slow("x", { key: "k-2" });
    const elector = new LeaderElector({ store, name: "leader/web", identity: "node-1" });
    const member = new ShardCoordinator({ store, name: "poll/ers", member: "node%1", shards: 8, weight: 2 });
    elector.start();
    member.start();
    endLater(() => elector.stop());
    endLater(() => member.stop());
    const watching = server.watch();
    await expect.poll(() => watching.last?.executions?.running).toHaveLength(1);
    expect(watching.last?.executions?.running[0]).toEqual({
      ...{ id: expect.stringMatching(/^[0-9a-f]{64}$/), operation: "slow", status: "running", attempt: 1 },
      ...{ token: expect.any(Number), createdAt: expect.any(Number), leaseRemainingMs: expect.any(Number) },
    });
    expect(watching.last?.executions?.recent.find(({ operation }) => operation === "pay")).toMatchObject({
      ...{ status: "completed", outcome: "value", completedAt: expect.any(Number) },
      scopeHash: expect.stringMatching(/^[0-9a-f]{16}$/),
    });
    await expect
      .poll(() => watching.last?.elections)
      .toEqual([{ name: "leader/web", leader: "node-1", epoch: expect.any(Number), remainingMs: expect.any(Number) }]);
    await expect
      .poll(() => watching.last?.divisions)
      .toEqual([{ name: "poll/ers", shards: 8, unowned: 0, members: [{ id: "node%1", shards: 8, weight: 2 }] }]);
    finish();
    await running;
    await expect.poll(() => watching.last?.executions?.running).toEqual([]);
  });

  it("of executions says of which there are more than it tells of", async () => {
    const { store, server } = await servedBoard();
    const pay = withIdempotency(async () => "paid", { store, operation: "pay" });
    for (let n = 0; n < 50; n += 1) await pay("x", { key: `k-${n}` });
    const watching = server.watch();
    await expect.poll(() => watching.last?.executions?.recent).toHaveLength(50);
    expect(watching.last?.executions?.more).toEqual([]);
    await pay("x", { key: "k-50" });
    await expect.poll(() => watching.last?.executions?.more).toEqual(["recent"]);
    expect(watching.last?.executions?.recent).toHaveLength(50);
  });

  it("of a division tells who has left and holds shards still, and of no election that is none", async () => {
    const { store, server } = await servedBoard();
    const lease = (name: string, holder: string) =>
      store.leases.acquire({ name, holder, nonce: name, durationMs: 60_000 }, CALL);
    await lease("shards:pollers/members/node-1", "0 of 4");
    await lease("shards:pollers/shards/2", "node-0 of 4");
    await lease("shards:odd", "node-1");
    const watching = server.watch();
    await expect
      .poll(() => watching.last?.divisions)
      .toEqual([
        {
          ...{ name: "pollers", shards: 4, unowned: 3 },
          members: [
            { id: "node-1", shards: 0, weight: 0 },
            { id: "node-0", shards: 1 },
          ],
        },
      ]);
    expect(watching.last?.elections).toEqual([]);
  });

  it("was seen before it came is in its first event", async () => {
    const { store, server } = await servedBoard({
      title: "mine",
      notes: [{ text: "Try", command: "ls" }],
      intervalMs: 20,
    });
    const ledger = new ResourceLedger({ store, group: "web" });
    await ledger.setDesired(10);
    const first = server.watch();
    await expect.poll(() => first.updates.length).toBeGreaterThan(3);
    await ledger.setDesired(5);
    await expect.poll(() => first.last?.groups?.[0]?.desired).toBe(5);
    const second = server.watch();
    await expect.poll(() => second.updates.length).toBeGreaterThan(0);
    expect(first.hello[0]?.history).toEqual({});
    expect(second.retryMs).toBe(2_000);
    const [hello] = second.hello;
    expect(hello).toMatchObject({
      title: "mine",
      actions: false,
      notes: [{ text: "Try", command: "ls" }],
      intervalMs: 20,
    });
    // What is alike for long is its first and its last moment.
    expect(hello?.history["web"]?.slice(0, 3).map(({ desired, observed }) => [desired, observed])).toEqual([
      [10, 0],
      [10, 0],
      [5, 0],
    ]);
  });
  it("was seen before anybody came where the history is always kept", async () => {
    const clock = new ManualClock();
    const log = new CallLog();
    const inner = memoryStore({ clock });
    const store = faultyStore(inner, { onCall: log.onCall });
    const { server } = await servedBoard({ store, clock, intervalMs: 60_000, history: "always" });
    const ledger = new ResourceLedger({ store: inner, group: "web", clock });
    await ledger.setDesired(10);
    // Longer than what nobody watches would be looked at otherwise.
    for (let minute = 0; minute < 10; minute += 1) {
      const looks = log.count("resources.listGroups");
      await clock.advance(60_000);
      await expect.poll(() => log.count("resources.listGroups"), { interval: 2 }).toBeGreaterThan(looks);
    }
    await ledger.setDesired(5);
    await clock.advance(60_000);
    const first = server.watch();
    await expect.poll(() => first.updates.length).toBeGreaterThan(0);
    const seen = first.hello[0]?.history["web"] ?? [];
    expect(seen[0]).toMatchObject({ desired: 10, observed: 0 });
    expect((seen.at(-1)?.at ?? 0) - (seen[0]?.at ?? 0)).toBeGreaterThanOrEqual(9 * 60_000);
    expect(seen.every(({ desired }) => desired !== null)).toBe(true);
  });
});

describe("a ledger that does not answer", () => {
  it("leaves what was known as it was, and says so", async () => {
    const clock = new ManualClock();
    const network = new Partition();
    const inner = memoryStore({ clock });
    const { server } = await servedBoard({
      store: faultyStore(inner, { partition: network }),
      clock,
      intervalMs: 2_000,
    });
    await putRows(inner, "web", 3);
    await new ResourceLedger({ store: inner, group: "web" }).setDesired(3);
    const watching = server.watch("/events?group=web");
    await expect.poll(() => watching.last?.window?.rows).toHaveLength(3);
    const before = watching.last;
    network.cut("both");
    await clock.advance(20_000);
    await expect.poll(() => watching.last?.problems).toHaveLength(4);
    expect(watching.last?.problems.map(({ of, code }) => `${of} ${code}`).sort()).toEqual([
      "executions STORE_UNAVAILABLE",
      "groups STORE_UNAVAILABLE",
      "leases STORE_UNAVAILABLE",
      "window STORE_UNAVAILABLE",
    ]);
    for (const part of ["groups", "window", "executions", "elections", "divisions"] as const)
      expect(watching.last?.[part], part).toEqual(before?.[part]);
    const late = server.watch("/events?group=web");
    await expect.poll(() => late.hello[0]?.history["web"]?.at(-1)).toMatchObject({ desired: null, observed: null });
    network.heal();
    await become(inner, "web", "web-0", "FAILED");
    await clock.advance(20_000);
    await expect.poll(() => watching.last?.problems).toEqual([]);
    expect(watching.last?.groups?.[0]?.observed).toMatchObject({ PROVISIONED: 2, FAILED: 1 });
  });

  it("from the beginning is unknown, and not empty", async () => {
    const network = new Partition();
    network.cut("both");
    const store = faultyStore(memoryStore(), { partition: network });
    const { server } = await servedBoard({ store, storeTimeoutMs: 50 });
    const watching = server.watch("/events?group=web");
    await expect.poll(() => watching.last?.problems.length).toBeGreaterThan(0);
    expect(Object.keys(watching.last ?? {}).sort()).toEqual(["at", "problems"]);
    network.heal();
    await expect.poll(() => watching.last?.groups).toEqual([]);
    expect(watching.last?.problems).toEqual([]);
  });

  it("in one part alone hides nothing of the others", async () => {
    const inner = memoryStore();
    const faults = [
      { on: "leases.list", fault: "lostRequest" },
      { on: "resources.changedSince", fault: "lostRequest" },
    ] as const;
    const { server } = await servedBoard({ store: faultyStore(inner, { faults }), storeTimeoutMs: 50 });
    await new ResourceLedger({ store: inner, group: "web" }).setDesired(3);
    const watching = server.watch("/events?group=web");
    await expect.poll(() => watching.last).toBeDefined();
    const { groups, window, executions, elections, problems } = watching.last ?? {};
    expect(groups).toEqual([
      { name: "web", generation: 1, observedGeneration: 0, desired: 3, conditions: [], isHere: false },
    ]);
    expect(window).toEqual({ group: "web", rows: [] });
    expect(executions).toEqual({ running: [], abandoned: [], recent: [], more: [] });
    expect(elections).toBeUndefined();
    expect(problems).toEqual([
      { of: "groups", group: "web", code: "STORE_UNAVAILABLE" },
      { of: "leases", code: "STORE_UNAVAILABLE" },
    ]);
  });
});
