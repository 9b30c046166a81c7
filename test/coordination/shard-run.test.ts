import { describe, expect, it } from "vitest";
import { aborted, deferred } from "./set-up.ts";
import { exclusive, inOrder, keysOf, placesAmong, setUpDivision, toldOf } from "./shard-set-up.ts";

const SHARDS = 4;

/** One member that holds all of a few shards. */
async function setUpHolder(...args: Parameters<ReturnType<typeof setUpDivision>["member"]>) {
  const division = setUpDivision();
  const holder = division.member({ shards: SHARDS, ...args[0] }, args[1]);
  const keys = keysOf(holder.coordinator, SHARDS);
  holder.coordinator.start();
  await division.clock.advance(0);
  return { ...division, holder, coordinator: holder.coordinator, keys };
}

describe("work under a shard", () => {
  it("is told the shard, its epoch and when to end, and its answer or error is the caller's", async () => {
    const { coordinator, keys, stopAll } = await setUpHolder();
    const key = keys[2] ?? "";
    const answer = await coordinator.run(key, ({ shard, epoch, signal }) => {
      expect([shard, epoch, signal.aborted]).toEqual([2, coordinator.epochOf(key), false]);
      return "done";
    });
    expect(answer).toBe("done");
    const failure = new Error("of the work");
    const fail = (): never => {
      throw failure;
    };
    await expect(coordinator.run(key, fail)).rejects.toBe(failure);
    await expect(coordinator.run(key, async () => fail())).rejects.toBe(failure);
    // None of them keeps the shard.
    await coordinator.stop();
    await stopAll();
  });

  it("keeps a shard until the last of it has settled, in whatever order", async () => {
    const { clock, coordinator, keys, holder, stopAll } = await setUpHolder();
    const works = [deferred(), deferred(), deferred()];
    const done = works.map((work) => coordinator.run(keys[0] ?? "", () => work.promise));
    const stopped = coordinator.stop();
    for (const at of [1, 2]) {
      works[at]?.resolve();
      await clock.advance(20_000);
      expect(holder.log).not.toContain("revoked 0");
      expect(coordinator.epochOf(keys[0] ?? "")).toBeGreaterThan(0);
    }
    expect(holder.log.filter((entry) => entry.startsWith("revoked"))).toHaveLength(SHARDS - 1);
    works[0]?.reject(new Error("late"));
    await expect(done[0]).rejects.toThrow("late");
    await stopped;
    expect(holder.log.at(-1)).toBe("revoked 0");
    await stopAll();
  });
});

describe("onAssigned", () => {
  it("that throws gives the shard up, which is asked for again at the next look and not before", async () => {
    const failing = { at: 3, with: 0 };
    const { clock, holder, coordinator, stopAll } = await setUpHolder({
      onAssigned: (shard) => {
        if (shard !== failing.at) return;
        failing.with += 1;
        throw new Error("not here");
      },
    });
    for (let look = 1; look <= 5; look += 1) {
      expect(failing.with).toBe(look);
      expect(coordinator.ownedShards()).toEqual([0, 1, 2]);
      await clock.advance(1_999);
      expect(failing.with).toBe(look);
      await clock.advance(1);
    }
    failing.at = -1;
    await clock.advance(2_000);
    expect(coordinator.ownedShards()).toEqual([0, 1, 2, 3]);
    const told = toldOf(holder.events).filter((entry) => /^shard_\w+ (onAssigned )?3\b/.test(entry));
    expect(told.slice(0, 3).map((entry) => entry.replace(/ 3 \d+/, " 3 n"))).toEqual([
      "shard_assigned 3 n",
      "shard_error onAssigned 3",
      "shard_revoked 3 n failed",
    ]);
    expect(holder.log.filter((entry) => entry === "revoked 3")).toHaveLength(6);
    await stopAll();
  });

  it("that ends with the signal's reason has not failed, and one that throws something else afterwards is told of", async () => {
    const { holder, coordinator, stopAll } = await setUpHolder({
      onAssigned: async (shard, _epoch, { signal }) => {
        await aborted(signal);
        if (shard === 1) throw new Error("on the way out");
        signal.throwIfAborted();
      },
    });
    await coordinator.stop();
    const told = toldOf(holder.events);
    expect(told.filter((entry) => entry.startsWith("shard_error"))).toEqual(["shard_error onAssigned 1"]);
    expect(told.filter((entry) => entry.endsWith("stopped"))).toHaveLength(SHARDS);
    await stopAll();
  });

  it("may stop the coordinator", async () => {
    const { clock, member, stopAll } = setUpDivision();
    const stopped: Promise<void>[] = [];
    const one = member({ onAssigned: () => void stopped.push(one.coordinator.stop()) });
    const { coordinator, log } = one;
    coordinator.start();
    await clock.advance(0);
    expect(stopped.length).toBeGreaterThan(0);
    await Promise.all(stopped);
    expect(coordinator.ownedShards()).toEqual([]);
    expect(log.filter((entry) => entry.startsWith("revoked"))).toHaveLength(log.length / 2);
    await stopAll();
  });
});

describe("onRevoked", () => {
  it("that throws is told of, and the shard is given up all the same", async () => {
    const { clock, ledger, holder, coordinator, stopAll } = await setUpHolder({
      onRevoked: async (shard) => {
        if (shard % 2 === 0) throw new Error("no");
        await Promise.reject(new Error("no"));
      },
    });
    await coordinator.stop();
    const told = toldOf(holder.events);
    expect(told.filter((entry) => entry.startsWith("shard_error onRevoked"))).toHaveLength(SHARDS);
    expect(told.filter((entry) => entry.endsWith(" stopped"))).toHaveLength(SHARDS);
    expect(await ledger.leases.list("", { timeoutMs: 1_000 })).toEqual([]);
    await clock.advance(0);
    await stopAll();
  });
});

describe("start and stop", () => {
  it("leave nothing in the store, and begin under higher epochs afterwards", async () => {
    const { clock, ledger, holder, coordinator, keys, stopAll } = await setUpHolder();
    const epoch = coordinator.epochOf(keys[0] ?? "") ?? 0;
    await coordinator.stop();
    await coordinator.stop();
    expect(await ledger.leases.list("", { timeoutMs: 1_000 })).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
    coordinator.start();
    await clock.advance(0);
    expect(coordinator.epochOf(keys[0] ?? "")).toBeGreaterThan(epoch);
    expect(coordinator.ownedShards()).toHaveLength(SHARDS);
    const told = toldOf(holder.events);
    expect(told).not.toContain("membership_refused");
    // Who is there is told anew.
    expect(told.filter((entry) => entry === "members_changed node-1")).toHaveLength(2);
    await stopAll();
  });

  it("twice begin once", async () => {
    const { clock, holder, coordinator, stopAll } = await setUpHolder();
    coordinator.start();
    coordinator.start();
    await clock.advance(20_000);
    expect(holder.log).toHaveLength(SHARDS);
    expect(holder.calls.count("leases.list")).toBeLessThanOrEqual(13);
    await coordinator.stop();
    await stopAll();
  });

  it("in one go, or while the last stop is not over, count in their order", async () => {
    const { clock, holder, coordinator, keys, stopAll } = await setUpHolder();
    const work = deferred();
    const done = coordinator.run(keys[1] ?? "", () => work.promise);
    const first = coordinator.stop();
    coordinator.start();
    const second = coordinator.stop();
    coordinator.start();
    await clock.advance(20_000);
    // The one before is to be over first.
    expect(coordinator.ownedShards()).toEqual([]);
    work.resolve();
    await Promise.all([done, first, second]);
    await clock.advance(0);
    expect(coordinator.ownedShards()).toHaveLength(SHARDS);
    expect(holder.log.filter((entry) => entry.startsWith("assigned 1"))).toHaveLength(2);
    await stopAll();
  });

  it("before anything was got, and before a start, come to an end at once", async () => {
    const { clock, member, ledger, stopAll } = setUpDivision();
    const one = member();
    await one.coordinator.stop();
    one.coordinator.start();
    await one.coordinator.stop();
    expect(one.coordinator.ownedShards()).toEqual([]);
    // In the middle of the acquisitions.
    const slow = member({}, { decide: () => ({ delayMs: 50, of: "reply" }) });
    slow.coordinator.start();
    await clock.advance(225);
    expect(slow.calls.count("leases.acquire")).toBeGreaterThan(1);
    const stopped = slow.coordinator.stop();
    expect(slow.coordinator.ownedShards()).toEqual([]);
    await clock.advance(500);
    await stopped;
    expect(slow.calls.count("leases.acquire")).toBeLessThan(100);
    expect(await ledger.leases.list("", { timeoutMs: 1_000 })).toEqual([]);
    await stopAll();
  });

  it.each(["leases.list", "leases.acquire", "leases.renew", "leases.release"] as const)(
    "while a call of %s hangs, come to an end within the call's own time",
    async (on) => {
      let hangs = false;
      const { clock, ledger, coordinator, holder, stopAll } = await setUpHolder(
        {
          onAssigned: (shard) =>
            shard === 0 && !hangs ? Promise.reject(new Error("so that it is acquired again")) : undefined,
        },
        { decide: ({ operation }) => (hangs && operation === on ? "hangBefore" : undefined) },
      );
      await clock.advance(10_000);
      hangs = true;
      await clock.advance(3_000);
      let isOver = false;
      const stopped = coordinator.stop().then(() => {
        isOver = true;
      });
      expect(coordinator.ownedShards()).toEqual([]);
      await clock.advance(10_000);
      expect(isOver).toBe(true);
      await stopped;
      expect(clock.pendingTimers).toBe(0);
      // What could be given up was.
      const left = await ledger.leases.list("", { timeoutMs: 1_000 });
      if (on !== "leases.release") expect(left).toEqual([]);
      expect(toldOf(holder.events).filter((entry) => entry.endsWith("stopped")).length).toBeGreaterThanOrEqual(
        SHARDS - 1,
      );
      await stopAll();
    },
  );
});

describe("listeners", () => {
  it("of changes are called with what is owned already so: at a start, a hand-over's begin, a deadline, a stop", async () => {
    const { clock, member, members, stopAll } = setUpDivision();
    const one = member({ shards: SHARDS });
    const counts: number[] = [];
    const stopListening = one.coordinator.onChange(() => counts.push(one.coordinator.ownedShards().length));
    one.coordinator.start();
    await clock.advance(1_000);
    expect(counts.at(-1)).toBe(SHARDS);
    const work = keysOf(one.coordinator, SHARDS).map((key) => {
      return one.coordinator.run(key, ({ signal }) => aborted(signal).then(() => clock.sleep(5_000)));
    });
    const other = member({ shards: SHARDS });
    other.coordinator.start();
    await clock.advance(2_000);
    const left = [...placesAmong(["node-1", "node-2"], SHARDS).values()].filter((id) => id === "node-1").length;
    expect(left).toBeLessThan(SHARDS);
    // The work under what moves has not settled.
    expect(counts.at(-1)).toBe(left);
    await clock.advance(10_000);
    expect(inOrder(exclusive(members))).toEqual(inOrder(placesAmong(["node-1", "node-2"], SHARDS)));
    expect(counts.at(-1)).toBe(left);
    one.network.cut("both");
    await clock.advance(10_000);
    expect(counts.at(-1)).toBe(0);
    one.network.heal();
    await clock.advance(17_000);
    expect(counts.at(-1)).toBe(left);
    await Promise.all([...work, one.coordinator.stop(), clock.advance(5_000)]);
    expect(counts.at(-1)).toBe(0);
    stopListening();
    stopListening();
    const calls = counts.length;
    one.coordinator.start();
    await clock.advance(20_000);
    expect(counts).toHaveLength(calls);
    await stopAll();
  });

  it("that throw, reject, or take themselves off break nothing", async () => {
    const { clock, holder, coordinator, stopAll } = await setUpHolder({
      onEvent: () => {
        throw new Error("of the telemetry");
      },
    });
    let heard = 0;
    coordinator.onChange(() => {
      throw new Error("at once");
    });
    coordinator.onChange(async () => {
      throw new Error("later");
    });
    const stopListening = coordinator.onChange(() => stopListening());
    const counting = () => {
      heard += 1;
    };
    // The same function may listen twice.
    const stopCounting = coordinator.onChange(counting);
    coordinator.onChange(counting);
    await coordinator.stop();
    expect(heard).toBe(2 * SHARDS);
    stopCounting();
    coordinator.start();
    await clock.advance(5_000);
    expect(coordinator.ownedShards()).toHaveLength(SHARDS);
    expect(heard).toBe(3 * SHARDS);
    expect(holder.log).toHaveLength(3 * SHARDS);
    await stopAll();
  });

  it("of events get each shard's in its order, and all of them", async () => {
    const { clock, member, stopAll } = setUpDivision();
    const group = [1, 2, 3].map(() => member({ shards: SHARDS }));
    for (const { coordinator } of group) {
      coordinator.start();
      await clock.advance(7_000);
    }
    await group[1]?.coordinator.stop();
    await clock.advance(7_000);
    await stopAll();
    for (const { events, log, id } of group) {
      for (let shard = 0; shard < SHARDS; shard += 1) {
        const own = events.flatMap((event) => {
          return (event.type === "shard_assigned" || event.type === "shard_revoked") && event.shard === shard
            ? [event]
            : [];
        });
        expect(own.map(({ type }) => type)).toEqual(
          own.map((_, at) => (at % 2 === 0 ? "shard_assigned" : "shard_revoked")),
        );
        expect(own.length).toBe(log.filter((entry) => entry.split(" ")[1] === `${shard}`).length);
        expect(own.every(({ division, member: of }) => division === "web" && of === id)).toBe(true);
      }
    }
    const seen = toldOf(group[0]?.events ?? []).filter((entry) => entry.startsWith("members_changed"));
    expect(seen.slice(0, 4)).toEqual([
      "members_changed node-1",
      "members_changed node-1 node-2",
      "members_changed node-1 node-2 node-3",
      "members_changed node-1 node-3",
    ]);
  });
});

describe("what a division asks of the store", () => {
  it("at rest is one list and one renewal of the membership a period, and three to four renewals a shard and deadline", async () => {
    const { clock, running, stopAll } = setUpDivision();
    const [one] = await running(1, { shards: 64 });
    one?.calls.clear();
    await clock.advance(60_000);
    expect(one?.calls.count("leases.list")).toBe(30);
    const renewals = one?.calls.calls.filter(({ operation }) => operation === "leases.renew") ?? [];
    const ofMembership = renewals.filter(({ request }) => (request as { name: string }).name.includes("/members/"));
    expect(ofMembership).toHaveLength(30);
    const ofShards = renewals.length - ofMembership.length;
    expect(ofShards).toBeGreaterThanOrEqual(64 * 18);
    expect(ofShards).toBeLessThanOrEqual(64 * 24);
    expect(one?.calls.total).toBe(30 + renewals.length);
    // They don't come all at once.
    const { calls } = one ?? {};
    let most = 0;
    for (let ms = 0; ms < 10_000; ms += 100) {
      calls?.clear();
      await clock.advance(100);
      most = Math.max(most, calls?.total ?? 0);
    }
    expect(most).toBeLessThan(16);
    await stopAll();
  });

  it("while it is down is no more than at rest, and an outage shorter than the deadline costs no shard", async () => {
    let isDown = false;
    const { clock, member, stopAll } = setUpDivision();
    const one = member({}, { decide: () => (isDown ? "lostRequest" : undefined) });
    one.coordinator.start();
    await clock.advance(20_000);
    one.calls.clear();
    await clock.advance(10_000);
    const atRest = one.calls.total / 10;
    const log = one.log.length;
    isDown = true;
    for (const seconds of [5, 25]) {
      for (let second = 1; second <= seconds; second += 1) {
        one.calls.clear();
        await clock.advance(1_000);
        // The first failures have to be heard of.
        if (second > 1) expect(one.calls.total).toBeLessThan(atRest);
      }
      isDown = false;
      await clock.advance(10_000);
      expect(one.coordinator.ownedShards()).toHaveLength(256);
      if (seconds === 5) expect(one.log).toHaveLength(log);
      isDown = true;
    }
    // It was down for long enough for all of them.
    expect(one.log).toHaveLength(3 * log);
    isDown = false;
    await stopAll();
  });
});
