import { EvenkeelError } from "evenkeel";
import type { FaultyCall } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { deferred } from "./set-up.ts";
import { exclusive, inOrder, keysOf, placesAmong, setUpDivision, toldOf } from "./shard-set-up.ts";

const CALL = { timeoutMs: 1_000 };
const HOUR_MS = 3_600_000;
const SHARDS = 8;

/** One member that holds all of a few shards. */
async function setUpHolder(...args: Parameters<ReturnType<typeof setUpDivision>["member"]>) {
  const division = setUpDivision();
  const holder = division.member({ shards: SHARDS, ...args[0] }, args[1]);
  const keys = keysOf(holder.coordinator, SHARDS);
  holder.coordinator.start();
  await division.clock.advance(0);
  return { ...division, holder, coordinator: holder.coordinator, keys };
}

/** Which shard's lease a call is about. */
function shardIn({ request }: FaultyCall): string | undefined {
  const name = typeof request === "string" ? request : (request as { name: string }).name;
  return /\/shards\/(\d+)$/.exec(name)?.[1];
}

describe("a member whose renewals hang", () => {
  it("owns nothing by renewDeadlineMs after the last one that was confirmed was begun", async () => {
    // All in step: none is renewed after 2.5 s.
    const random = { float: () => 0, bytes: (count: number) => new Uint8Array(count).fill(7) };
    const { clock, holder, coordinator, keys, stopAll } = await setUpHolder({ random });
    await clock.advance(2 * (10_000 / 3) + 100);
    holder.network.cut("both");
    await clock.advance(10_000 - 101);
    expect(coordinator.ownedShards()).toHaveLength(SHARDS);
    await clock.advance(1.1);
    expect(coordinator.ownedShards()).toEqual([]);
    for (const key of keys) expect([coordinator.owns(key), coordinator.epochOf(key)]).toEqual([false, undefined]);
    await stopAll();
  });

  it("loses the one shard whose renewals hang, and no other", async () => {
    const { clock, holder, coordinator, keys, stopAll } = await setUpHolder(
      {},
      { decide: (call) => (call.operation === "leases.renew" && shardIn(call) === "3" ? "hangBefore" : undefined) },
    );
    const epoch = coordinator.epochOf(keys[3] ?? "");
    await clock.advance(9_999);
    expect(coordinator.ownedShards()).toHaveLength(SHARDS);
    await clock.advance(1);
    expect(coordinator.epochOf(keys[3] ?? "")).not.toBe(epoch);
    // It was released, and is got anew at the next look.
    await clock.advance(2_000);
    expect(coordinator.ownedShards()).toHaveLength(SHARDS);
    const told = toldOf(holder.events).filter((entry) => entry.startsWith("shard_revoked"));
    expect(told).toEqual([`shard_revoked 3 ${epoch} deadline`]);
    await stopAll();
  });

  it("loses no shard by the failures of many others", async () => {
    const { clock, member, stopAll } = setUpDivision();
    const decide = (call: FaultyCall) => {
      return call.operation === "leases.renew" && Number(shardIn(call) ?? 0) % 8 > 0 ? "lostRequest" : undefined;
    };
    const one = member({ shards: 64 }, { decide });
    one.coordinator.start();
    await clock.advance(15_000);
    const lost = toldOf(one.events).flatMap((told) => /^shard_revoked (\d+)/.exec(told)?.[1] ?? []);
    expect(lost).toHaveLength(56);
    expect(lost.filter((shard) => Number(shard) % 8 === 0)).toEqual([]);
    await stopAll();
  });

  it("tells the work under them to end without being asked", async () => {
    const { clock, holder, coordinator, keys, stopAll } = await setUpHolder();
    let signal: AbortSignal | undefined;
    const done = coordinator.run(keys[0] ?? "", async (held) => {
      signal = held.signal;
      await clock.sleep(20_000);
    });
    holder.network.cut("both");
    await clock.advance(10_000);
    expect(signal?.aborted).toBe(true);
    expect(signal?.reason).toMatchObject({ code: "NOT_LEADER" });
    await clock.advance(10_000);
    await done;
    await stopAll();
  });

  it("is not brought down by an outage that is shorter than the deadline", async () => {
    const { clock, holder, coordinator, stopAll } = await setUpHolder();
    await clock.advance(5_000);
    holder.network.cut("both");
    await clock.advance(5_500);
    holder.network.heal();
    await clock.advance(30_000);
    expect(coordinator.ownedShards()).toHaveLength(SHARDS);
    expect(holder.log).toHaveLength(SHARDS);
    await stopAll();
  });
});

describe("a member whose process stands still", () => {
  it("knows it at once, before any timer has fired, and begins again under higher epochs", async () => {
    const { clock, holder, coordinator, keys, stopAll } = await setUpHolder();
    const other = coordinator.epochOf(keys[2] ?? "") ?? 0;
    holder.clock.freeze();
    await clock.advance(45_000);
    expect(coordinator.owns(keys[0] ?? "")).toBe(false);
    expect(coordinator.epochOf(keys[1] ?? "")).toBeUndefined();
    await expect(coordinator.run(keys[2] ?? "", () => expect.unreachable())).rejects.toMatchObject({
      code: "NOT_LEADER",
    });
    expect(coordinator.ownedShards()).toEqual([]);
    holder.clock.thaw();
    await clock.advance(4_000);
    expect(coordinator.ownedShards()).toHaveLength(SHARDS);
    expect(coordinator.epochOf(keys[2] ?? "")).toBeGreaterThan(other);
    await stopAll();
  });

  it("does not take up what was granted while it stood still too long", async () => {
    const { clock, holder, coordinator, stopAll } = await setUpHolder(
      {},
      { faults: [{ on: "leases.acquire", nth: 2, fault: { delayMs: 100, of: "reply" } }] },
    );
    holder.clock.freeze();
    await clock.advance(14_000);
    holder.clock.thaw();
    await clock.advance(0);
    // The membership had epoch 1. What it gets now is another one.
    expect(holder.log).not.toContain("assigned 0 2");
    await clock.advance(6_000);
    expect(coordinator.ownedShards()).toHaveLength(SHARDS);
    await stopAll();
  });
});

describe("a wall clock that is set on one member", () => {
  it.each([-HOUR_MS, HOUR_MS])("by %i ms changes nothing but, at most, a round trip", async (ms) => {
    const { clock, member, running, members, stopAll } = setUpDivision();
    const [one, other] = await running(2, { shards: SHARDS });
    const before = exclusive(members);
    const epochs = () =>
      keysOf(member({ shards: SHARDS }).coordinator, SHARDS).map((key) => {
        return one?.coordinator.epochOf(key) ?? other?.coordinator.epochOf(key);
      });
    const had = epochs();
    one?.clock.jump(ms);
    // Forward it may have been a suspension: nothing is owned until a renewal is confirmed.
    const without = inOrder(before).filter(([, owner]) => ms < 0 || owner !== one?.id);
    expect(inOrder(exclusive(members))).toEqual(without);
    expect(without.length).toBeGreaterThan(0);
    await clock.advance(0);
    expect(inOrder(exclusive(members))).toEqual(inOrder(before));
    await clock.advance(60_000);
    expect(inOrder(exclusive(members))).toEqual(inOrder(before));
    expect(epochs()).toEqual(had);
    expect(
      toldOf([...(one?.events ?? []), ...(other?.events ?? [])]).filter((told) => /revoked|error/.test(told)),
    ).toEqual([]);
    await stopAll();
  });
});

describe("a shard whose lease is not ours any more", () => {
  it("is over at the store's word, and got anew once it is free", async () => {
    const { clock, ledger, holder, coordinator, keys, stopAll } = await setUpHolder();
    const epoch = coordinator.epochOf(keys[5] ?? "") ?? 0;
    const own = (await ledger.leases.list("shards:web/shards/5", CALL))[0];
    await ledger.leases.release({ name: "shards:web/shards/5", holder: own?.holder ?? "", epoch }, CALL);
    await clock.advance(10_000 / 3);
    expect(toldOf(holder.events)).toContain(`shard_revoked 5 ${epoch} missing`);
    await clock.advance(2_000);
    const next = coordinator.epochOf(keys[5] ?? "") ?? 0;
    expect(next).toBeGreaterThan(epoch);

    await ledger.leases.release({ name: "shards:web/shards/5", holder: own?.holder ?? "", epoch: next }, CALL);
    const theft = { name: "shards:web/shards/5", holder: "thief", nonce: "n", durationMs: 15_000 };
    await ledger.leases.acquire(theft, CALL);
    await clock.advance(10_000 / 3);
    expect(toldOf(holder.events)).toContain(`shard_revoked 5 ${next} lost`);
    expect(coordinator.owns(keys[5] ?? "")).toBe(false);
    await clock.advance(15_000);
    expect(coordinator.owns(keys[5] ?? "")).toBe(true);
    await stopAll();
  });
});

describe("a shard whose holder is gone", () => {
  it("is got when its lease lapses, and not only at the next regular look", async () => {
    const { clock, ledger, member, stopAll } = setUpDivision();
    const held = { name: "shards:web/shards/3", holder: `gone of ${SHARDS}`, nonce: "n", durationMs: 5_300 };
    await ledger.leases.acquire(held, CALL);
    const one = member({ shards: SHARDS });
    one.coordinator.start();
    await clock.advance(5_299);
    expect(one.coordinator.ownedShards()).toHaveLength(SHARDS - 1);
    await clock.advance(1);
    expect(one.coordinator.ownedShards()).toHaveLength(SHARDS);
    expect(one.calls.count("leases.acquire")).toBe(1 + SHARDS);
    await stopAll();
  });
});

describe("a shard that can't be got", () => {
  it("keeps no other from being got at the first look", async () => {
    const { clock, ledger, member, stopAll } = setUpDivision();
    const acquire: typeof ledger.leases.acquire = (request, call) => {
      if (!request.name.endsWith("/shards/0")) return ledger.leases.acquire(request, call);
      return Promise.reject(new EvenkeelError("RECORD_CORRUPT", "It can't be read."));
    };
    const one = member({ store: { ...ledger, leases: { ...ledger.leases, acquire } } });
    one.coordinator.start();
    await clock.advance(0);
    expect(one.coordinator.ownedShards()).toHaveLength(255);
    expect(toldOf(one.events)).toContain("shard_error store 0");
    await stopAll();
  });
});

describe("an acquisition whose answer was lost", () => {
  it("is found out at the next look, under the same epoch, without waiting for the lease", async () => {
    let asked = 0;
    // Both tries of the first request.
    const decide = (call: FaultyCall) => {
      if (call.operation !== "leases.acquire" || shardIn(call) !== "4") return undefined;
      asked += 1;
      return asked <= 2 ? "hangAfter" : undefined;
    };
    const { clock, holder, coordinator, keys, stopAll } = await setUpHolder({}, { decide });
    await clock.advance(5_000);
    expect(coordinator.owns(keys[4] ?? "")).toBe(false);
    await clock.advance(2_000);
    expect(coordinator.owns(keys[4] ?? "")).toBe(true);
    expect(toldOf(holder.events)).toContain("shard_error store 4");
    // Its lease began 7 s ago: the deadline is as much earlier.
    holder.network.cut("both");
    await clock.advance(2_999);
    expect(coordinator.owns(keys[4] ?? "")).toBe(true);
    await clock.advance(1);
    expect(coordinator.owns(keys[4] ?? "")).toBe(false);
    await stopAll();
  });
});

describe("a store that is down", () => {
  it("at the start is waited for", async () => {
    const { clock, member, stopAll } = setUpDivision();
    const one = member({ shards: SHARDS });
    one.network.cut("requests");
    one.coordinator.start();
    await clock.advance(60_000);
    expect(one.coordinator.ownedShards()).toEqual([]);
    expect(toldOf(one.events)).toContain("shard_error store");
    one.network.heal();
    await clock.advance(7_000);
    expect(one.coordinator.ownedShards()).toHaveLength(SHARDS);
    await stopAll();
  });

  it("at the end leaves the leases to lapse, and the stop comes to its end", async () => {
    const { clock, member, members, holder, stopAll } = await setUpHolder();
    const waiting = member({ shards: SHARDS });
    waiting.coordinator.start();
    await clock.advance(10_000);
    holder.network.cut("both");
    let isStopped = false;
    const stopped = holder.coordinator.stop().then(() => {
      isStopped = true;
    });
    expect(holder.coordinator.ownedShards()).toEqual([]);
    await clock.advance(10_000);
    expect(isStopped).toBe(true);
    await stopped;
    await clock.advance(15_000 + 2_000 - 10_000);
    expect(inOrder(exclusive(members))).toEqual(inOrder(placesAmong([waiting.id], SHARDS)));
    await stopAll();
  });

  it("for one's membership alone costs no shard as long as that lasts, and no refusal afterwards", async () => {
    let isDown = false;
    const { clock, holder, coordinator, stopAll } = await setUpHolder(
      {},
      {
        decide: (call) =>
          isDown && call.operation !== "leases.list" && shardIn(call) === undefined ? "hangBefore" : undefined,
      },
    );
    isDown = true;
    await clock.advance(9_000);
    expect(coordinator.ownedShards()).toHaveLength(SHARDS);
    await clock.advance(60_000);
    isDown = false;
    await clock.advance(9_000);
    expect(coordinator.ownedShards()).toHaveLength(SHARDS);
    expect(toldOf(holder.events)).not.toContain("membership_refused");
    await stopAll();
  });
});

describe("a membership that could not be renewed or released", () => {
  it("is no other process's when it is asked for anew", async () => {
    let isDown = false;
    const decide = (call: FaultyCall) => {
      const isOurs = call.operation === "leases.renew" || call.operation === "leases.release";
      return isDown && isOurs && shardIn(call) === undefined ? "hangBefore" : undefined;
    };
    const { clock, holder, coordinator, stopAll } = await setUpHolder({}, { decide });
    isDown = true;
    // The deadline has passed, and the lease has not lapsed.
    await clock.advance(14_500);
    expect(holder.calls.count("leases.acquire")).toBeGreaterThan(1 + SHARDS);
    isDown = false;
    await clock.advance(6_000);
    expect(coordinator.ownedShards()).toHaveLength(SHARDS);
    expect(toldOf(holder.events)).not.toContain("membership_refused");
    await stopAll();
  });
});

describe("two processes under one name", () => {
  it("are one member: the second waits, says so once, and goes on when the first is gone", async () => {
    const { clock, member, stopAll } = setUpDivision();
    const first = member({ member: "twin", shards: SHARDS });
    const second = member({ member: "twin", shards: SHARDS });
    first.coordinator.start();
    await clock.advance(1_000);
    second.coordinator.start();
    await clock.advance(60_000);
    expect(first.coordinator.ownedShards()).toHaveLength(SHARDS);
    expect(second.coordinator.ownedShards()).toEqual([]);
    const refusals = second.events.filter(({ type }) => type === "membership_refused");
    expect(refusals).toHaveLength(1);
    expect(refusals[0]).toMatchObject({ member: "twin", error: { message: expect.stringContaining('"twin"') } });
    first.network.cut("both");
    await clock.advance(15_000 + 2 * 2_000);
    expect(first.coordinator.ownedShards()).toEqual([]);
    expect(second.coordinator.ownedShards()).toHaveLength(SHARDS);
    first.network.heal();
    await clock.advance(20_000);
    expect(second.coordinator.ownedShards()).toHaveLength(SHARDS);
    expect(first.events.filter(({ type }) => type === "membership_refused")).toHaveLength(1);
    await stopAll();
  });
});

describe("members that say another number of shards", () => {
  it("are kept out while others hold shards, which is said once and with their names, and get in afterwards", async () => {
    const { clock, member, running, stopAll } = setUpDivision();
    const [one, other] = await running(2, { shards: SHARDS });
    const odd = member({ shards: SHARDS + 1 });
    odd.coordinator.start();
    await clock.advance(60_000);
    expect(odd.coordinator.ownedShards()).toEqual([]);
    const refusals = odd.events.filter(({ type }) => type === "membership_refused");
    expect(refusals).toHaveLength(1);
    expect(refusals[0]).toMatchObject({ error: { message: expect.stringMatching(/"node-1", "node-2"/) } });
    // The others take no notice.
    for (const each of [one, other]) expect(toldOf(each?.events ?? []).join()).not.toMatch(/node-3|revoked|refused/);
    await Promise.all([one?.coordinator.stop(), other?.coordinator.stop()]);
    await clock.advance(4_000);
    expect(odd.coordinator.ownedShards()).toHaveLength(SHARDS + 1);
    await stopAll();
  });

  it("never own anything both, when they begin at once", async () => {
    for (const apartMs of [0, 1, 50, 2_000]) {
      const { clock, member, stopAll } = setUpDivision();
      const slow = { decide: () => ({ delayMs: 30 }) as const };
      const one = member({ shards: 4 }, slow);
      const other = member({ shards: 5 }, slow);
      one.coordinator.start();
      await clock.advance(apartMs);
      other.coordinator.start();
      for (let ms = 0; ms < 10_000; ms += 10) {
        await clock.advance(10);
        expect(Math.min(one.coordinator.ownedShards().length, other.coordinator.ownedShards().length)).toBe(0);
      }
      await stopAll();
    }
  });

  it("are kept out as long as one that has left still works under a shard: the same key would be another shard's", async () => {
    const { clock, member, holder, coordinator, keys, stopAll } = await setUpHolder();
    const odd = member({ shards: SHARDS + 1 });
    const work = deferred();
    const done = coordinator.run(keys[7] ?? "", () => work.promise);
    const stopped = coordinator.stop();
    odd.coordinator.start();
    await clock.advance(60_000);
    expect(coordinator.epochOf(keys[7] ?? "")).toBeGreaterThan(0);
    expect(odd.coordinator.ownedShards()).toEqual([]);
    expect(odd.events.filter(({ type }) => type === "membership_refused")).toMatchObject([
      { error: { message: expect.stringContaining(`"${holder.id}"`) } },
    ]);
    work.resolve();
    await Promise.all([done, clock.advance(0), stopped]);
    await clock.advance(2_000);
    expect(odd.coordinator.ownedShards()).toHaveLength(SHARDS + 1);
    await stopAll();
  });
});
