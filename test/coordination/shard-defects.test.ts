import { EvenkeelError, LeaderElector, ShardCoordinator } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { ManualClock, seededRandom } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { deferred } from "./set-up.ts";
import { type DivisionMember, setUpDivision, toldOf } from "./shard-set-up.ts";

const HOUR_MS = 3_600_000;

/** How many of many keys both own, though they divide them differently. */
function ownedByBoth(one: DivisionMember, other: DivisionMember): number {
  const keys = Array.from({ length: 2_000 }, (_, n) => `key-${n}`);
  return keys.filter((key) => one.coordinator.owns(key) && other.coordinator.owns(key)).length;
}

describe("a member that comes back to a division into another number of shards", () => {
  it("is kept out, though work goes on under shards that it has lost", async () => {
    const { clock, member, stopAll } = setUpDivision();
    const old = member({ shards: 64 });
    old.coordinator.start();
    await clock.advance(10_000);
    const { promise: work, resolve: endWork } = deferred();
    const running = old.coordinator.run("key-1", () => work);
    old.network.cut("both");
    await clock.advance(20_000);
    const other = member({ shards: 32 });
    other.coordinator.start();
    await clock.advance(6_000);
    old.network.heal();
    await clock.advance(30_000);
    expect(ownedByBoth(old, other)).toBe(0);
    expect(other.coordinator.ownedShards()).toHaveLength(32);
    expect(toldOf(old.events)).toContain("membership_refused");
    endWork();
    await running;
    await stopAll();
  });

  it("is kept out, when it was suspended between its look and the first shard that it got", async () => {
    const { clock, member, stopAll } = setUpDivision();
    let lists = 0;
    const old = member(
      { shards: 64 },
      {
        onCall: ({ operation }) => {
          lists += operation === "leases.list" ? 1 : 0;
          // Members, holders, and the shards that are taken.
          if (lists === 3 && !old.clock.isFrozen) old.clock.freeze();
        },
      },
    );
    old.coordinator.start();
    await clock.advance(20_000);
    const other = member({ shards: 32 });
    other.coordinator.start();
    await clock.advance(6_000);
    lists = 4;
    old.clock.thaw();
    await clock.advance(60_000);
    expect(ownedByBoth(old, other)).toBe(0);
    expect(other.coordinator.ownedShards()).toHaveLength(32);
    await stopAll();
  });

  it("waits for the work of one that has left, whatever its name", async () => {
    const { clock, member, stopAll } = setUpDivision();
    const old = member({ shards: 8, member: "node\u2028x" });
    old.coordinator.start();
    await clock.advance(4_000);
    const { promise: work, resolve: endWork } = deferred();
    const running = old.coordinator.run("key-1", () => work);
    const stopped = old.coordinator.stop();
    const other = member({ shards: 4 });
    other.coordinator.start();
    await clock.advance(10_000);
    expect(other.coordinator.ownedShards()).toEqual([]);
    endWork();
    await running;
    await clock.advance(10_000);
    await stopped;
    expect(other.coordinator.ownedShards()).toEqual([0, 1, 2, 3]);
    await stopAll();
  });
});

describe("shards that can't be got", () => {
  it("keep no others from being got, be they ever so many", async () => {
    const { clock, ledger, member, stopAll } = setUpDivision();
    const acquire: typeof ledger.leases.acquire = (request, call) => {
      const shard = /\/shards\/(\d+)$/.exec(request.name)?.[1];
      if (shard === undefined || Number(shard) >= 40) return ledger.leases.acquire(request, call);
      return Promise.reject(new EvenkeelError("RECORD_CORRUPT", "It can't be read."));
    };
    const one = member({ store: { ...ledger, leases: { ...ledger.leases, acquire } } });
    one.coordinator.start();
    await clock.advance(0);
    expect(one.coordinator.ownedShards()).toHaveLength(216);
    expect(toldOf(one.events).filter((told) => told.startsWith("shard_error store"))).toHaveLength(40);
    await stopAll();
  });

  it("because nothing is answered keep nobody from looking again within a period", async () => {
    const { clock, ledger, member, stopAll } = setUpDivision();
    const acquire: typeof ledger.leases.acquire = (request, call) => {
      if (!request.name.endsWith("/shards/0")) return ledger.leases.acquire(request, call);
      return new Promise(() => {});
    };
    const one = member({ store: { ...ledger, leases: { ...ledger.leases, acquire } } });
    one.coordinator.start();
    await clock.advance(0);
    const two = member();
    two.coordinator.start();
    await clock.advance(4_000);
    const [first, second] = [one.coordinator.ownedShards().length, two.coordinator.ownedShards().length];
    expect(second).toBeGreaterThan(64);
    expect(first + second).toBeGreaterThanOrEqual(255);
    await stopAll();
  });
});

describe("onChange", () => {
  it("tells of shards that a clock has put in doubt, and of their return", async () => {
    const { clock, running, stopAll } = setUpDivision();
    const [one] = (await running(1, { shards: 4 })) as [DivisionMember];
    const owned: number[] = [];
    one.coordinator.onChange(() => void owned.push(one.coordinator.ownedShards().length));
    one.clock.jump(HOUR_MS);
    expect(one.coordinator.ownedShards()).toEqual([]);
    await clock.advance(0);
    expect(owned[0]).toBe(0);
    expect(owned.at(-1)).toBe(4);
    await stopAll();
  });
});

describe("names", () => {
  it("of elections can't be those of shards", () => {
    const store = memoryStore();
    expect(() => new LeaderElector({ store, name: "shards:web/shards/7" })).toThrow(
      expect.objectContaining({
        code: "INVALID_OPTIONS",
        message: expect.stringContaining("name must not begin with"),
      }),
    );
  });

  it("of leases that nobody can have made are nobody's", async () => {
    const { clock, ledger, member, stopAll } = setUpDivision();
    const foreign = { name: "shards:web/members/%zz", holder: "1 of 256", nonce: "n", durationMs: 60_000 };
    await ledger.leases.acquire(foreign, { timeoutMs: 1_000 });
    const one = member();
    one.coordinator.start();
    await clock.advance(0);
    expect(one.coordinator.ownedShards()).toHaveLength(256);
    await stopAll();
  });
});

describe("a wall clock that is set for all, the memory store too", () => {
  it.each([HOUR_MS, -HOUR_MS])(
    "by %i ms ends no lead, takes no shard, and keeps nobody from taking over in time",
    async (ms) => {
      const clock = new ManualClock();
      const store = memoryStore({ clock });
      const shared = { store, clock };
      const electors = ["a", "b"].map((identity, n) => {
        return new LeaderElector({ ...shared, name: "web", identity, random: seededRandom(n + 1) });
      });
      const divisions = ["a", "b"].map((member, n) => {
        return new ShardCoordinator({ ...shared, name: "web", member, shards: 16, random: seededRandom(n + 1) });
      });
      for (const one of [...electors, ...divisions]) {
        one.start();
        await clock.advance(4_000);
      }
      const before = [electors[0]?.epoch, ...divisions.map((one) => one.held())];
      await clock.set(clock.now() + ms);
      for (const one of electors) one.isLeader();
      for (const one of divisions) one.ownedShards();
      await clock.advance(30_000);
      expect([electors[0]?.epoch, ...divisions.map((one) => one.held())]).toEqual(before);
      await Promise.all([electors[0]?.stop(), divisions[0]?.stop()]);
      await clock.advance(2_400);
      expect(electors[1]?.isLeader()).toBe(true);
      expect(divisions[1]?.ownedShards()).toHaveLength(16);
      await Promise.all([electors[1]?.stop(), divisions[1]?.stop()]);
      expect(clock.pendingTimers).toBe(0);
    },
  );
});
