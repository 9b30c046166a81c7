import { describe, expect, it } from "vitest";
import { deferred } from "./set-up.ts";
import { exclusive, inOrder, keyOf, placesAmong, setUpDivision, toldOf } from "./shard-set-up.ts";

describe("members that come and go", () => {
  it("the third of three gets what is its own by rendezvous, and nothing else is closed for a moment", async () => {
    const { clock, member, members, running, stopAll } = setUpDivision();
    const two = await running(2);
    expect(inOrder(exclusive(two))).toEqual(inOrder(placesAmong(["node-1", "node-2"])));
    const third = member();
    const places = placesAmong(["node-1", "node-2", third.id]);
    const staying = inOrder(places).filter(([, owner]) => owner !== third.id);
    expect(staying.length).toBeGreaterThan(130);
    const before = new Map(two.map((each) => [each.id, { each, shards: each.coordinator.ownedShards() }]));
    const epochs = staying.map(([shard, owner]) => {
      const { coordinator } = before.get(owner)?.each ?? third;
      return coordinator.epochOf(keyOf(coordinator, shard));
    });

    third.coordinator.start();
    for (let ms = 0; ms < 10_000; ms += 100) {
      await clock.advance(100);
      const owners = exclusive(members);
      expect(staying.filter(([shard, owner]) => owners.get(shard) !== owner)).toEqual([]);
    }
    expect(inOrder(exclusive(members))).toEqual(inOrder(places));
    const { coordinator: own } = third;
    expect(own.ownedShards().length).toBe(256 - staying.length);
    expect(
      staying.map(([shard, owner]) => {
        const { coordinator } = before.get(owner)?.each ?? third;
        return coordinator.epochOf(keyOf(coordinator, shard));
      }),
    ).toEqual(epochs);
    // Those that stayed were touched in no way.
    for (const { each, shards } of before.values()) {
      const moved = shards.filter((shard) => places.get(shard) === third.id);
      const told = toldOf(each.events).filter((entry) => entry.startsWith("shard_revoked"));
      expect(told.map((entry) => Number(entry.split(" ")[1])).sort((a, b) => a - b)).toEqual(moved);
      expect(told.every((entry) => entry.endsWith(" moved"))).toBe(true);
      expect(each.log.filter((entry) => entry.startsWith("assigned"))).toHaveLength(shards.length);
    }
    await stopAll();
  });

  it("a planned move takes two looks: one to give, one to take", async () => {
    const { clock, member, members, running, stopAll } = setUpDivision();
    await running(2);
    member().coordinator.start();
    await clock.advance(2 * 2_000 + 1);
    expect(inOrder(exclusive(members))).toEqual(inOrder(placesAmong(["node-1", "node-2", "node-3"])));
    await stopAll();
  });

  it("one that stops leaves its shards to the others at once, and only those move", async () => {
    const { clock, running, stopAll } = setUpDivision();
    const [gone, ...rest] = await running(3);
    const before = exclusive(rest);
    await gone?.coordinator.stop();
    expect(gone?.coordinator.ownedShards()).toEqual([]);
    await clock.advance(2_000);
    const after = exclusive(rest);
    expect(inOrder(after)).toEqual(inOrder(placesAmong(["node-2", "node-3"])));
    expect([...before].filter(([shard, owner]) => after.get(shard) !== owner)).toEqual([]);
    for (const { events } of rest) expect(toldOf(events).filter((entry) => entry.startsWith("shard_rev"))).toEqual([]);
    await stopAll();
  });

  it("the shards of one that crashes are all owned again within leaseDurationMs + retryPeriodMs, and no others move", async () => {
    // At any moment between two renewals.
    // At any moment between two looks.
    for (const atMs of [0, 700, 1_999, 2_001]) {
      const { clock, running, stopAll } = setUpDivision();
      const [gone, ...rest] = await running(3);
      await clock.advance(atMs);
      const before = exclusive(rest);
      gone?.network.cut("both");
      gone?.clock.freeze();
      // Until a lease that was about to be renewed has lapsed, nobody may have them.
      const earliestMs = 15_000 - 10_000 / 3 - 1;
      await clock.advance(earliestMs);
      expect(exclusive(rest).size).toBe(before.size);
      await clock.advance(15_000 + 2_000 - earliestMs);
      const after = exclusive(rest);
      expect(inOrder(after)).toEqual(inOrder(placesAmong(["node-2", "node-3"])));
      expect([...before].filter(([shard, owner]) => after.get(shard) !== owner)).toEqual([]);
      for (const { events } of rest) expect(toldOf(events).filter((told) => told.startsWith("shard_rev"))).toEqual([]);
      await stopAll();
    }
  });

  it("one that begins anew under its name gets the shards that it had", async () => {
    const { clock, member, running, stopAll } = setUpDivision();
    const [gone, ...rest] = await running(3);
    const had = gone?.coordinator.ownedShards();
    await gone?.coordinator.stop();
    const anew = member({ member: "node-1" });
    anew.coordinator.start();
    await clock.advance(6_000);
    expect(anew.coordinator.ownedShards()).toEqual(had);
    expect(inOrder(exclusive([anew, ...rest]))).toEqual(inOrder(placesAmong(["node-1", "node-2", "node-3"])));
    await stopAll();
  });

  it("shares follow the weights, and one of weight 0 takes part and owns nothing", async () => {
    const { clock, member, members, stopAll } = setUpDivision();
    for (const weight of [1, 3, 0]) member({ weight }).coordinator.start();
    await clock.advance(10_000);
    const weighted = members.map(({ id }, at) => ({ id, weight: [1, 3, 0][at] ?? 1 }));
    expect(inOrder(exclusive(members))).toEqual(inOrder(placesAmong(weighted)));
    const [one, three, none] = members.map(({ coordinator }) => coordinator.ownedShards().length);
    expect(none).toBe(0);
    expect((three ?? 0) / (one ?? 0)).toBeGreaterThan(2);
    expect((three ?? 0) / (one ?? 0)).toBeLessThan(4.5);
    expect(toldOf(members[2]?.events ?? []).at(-1)).toBe("members_changed node-1 node-2 node-3");
    await stopAll();
  });

  it("where all weigh nothing, nobody owns anything", async () => {
    const { running, members, stopAll } = setUpDivision();
    await running(2, { weight: 0 });
    expect(exclusive(members).size).toBe(0);
    await stopAll();
  });

  it("names may be any text, and divisions whose names begin alike keep apart", async () => {
    const { clock, member, stopAll } = setUpDivision();
    const names = ["a/b", "a", "50%", "50%25", "🦊", "members", " shards/1 ", "x of 256"];
    const one = names.map((name) => member({ member: name, name: "web" }));
    const other = names.slice(0, 2).map((name) => member({ member: name, name: "web/members" }));
    const third = member({ member: "a", name: "web/members/a" });
    const all = [...one, ...other, third];
    for (const { coordinator } of all) coordinator.start();
    await clock.advance(12_000);
    expect(inOrder(exclusive(one))).toEqual(inOrder(placesAmong(names)));
    expect(inOrder(exclusive(other))).toEqual(inOrder(placesAmong(names.slice(0, 2))));
    expect(third.coordinator.ownedShards()).toHaveLength(256);
    expect(toldOf(third.events)[0]).toBe("members_changed a");
    await stopAll();
  });

  it("a division of many members is whole, too", async () => {
    const { clock, member, members, stopAll } = setUpDivision();
    const shards = 40;
    for (let n = 1; n <= 60; n += 1) member({ shards }).coordinator.start();
    await clock.advance(6_000);
    const ids = members.map(({ id }) => id);
    expect(inOrder(exclusive(members))).toEqual(inOrder(placesAmong(ids, shards)));
    await stopAll();
  }, 120_000);
});

describe("a hand-over", () => {
  /** One member with all shards; `moving` is one that the second, which joins, is to get. */
  async function setUpMove(options: Parameters<ReturnType<typeof setUpDivision>["member"]>[0] = {}) {
    const division = setUpDivision();
    const first = division.member(options);
    const second = division.member();
    first.coordinator.start();
    await division.clock.advance(100);
    const [moving = 0] = [...placesAmong(["node-1", "node-2"])].find(([, owner]) => owner === "node-2") ?? [];
    const key = keyOf(first.coordinator, moving);
    const epoch = first.coordinator.epochOf(key) ?? 0;
    return { ...division, first, second, moving, key, epoch };
  }

  it("waits for work under the shard, which the lease outlives; nothing begins meanwhile, and the epoch stands", async () => {
    const { clock, first, second, moving, key, epoch, stopAll } = await setUpMove();
    const work = deferred();
    let signal: AbortSignal | undefined;
    const done = first.coordinator.run(key, (held) => {
      signal = held.signal;
      return work.promise;
    });
    second.coordinator.start();
    await clock.advance(1_000);
    expect([first.coordinator.owns(key), signal?.aborted]).toEqual([true, false]);
    await clock.advance(1_000);
    // Far beyond the lease: it is renewed.
    for (let ms = 0; ms < 60_000; ms += 5_000) {
      expect([first.coordinator.owns(key), signal?.aborted]).toEqual([false, true]);
      expect(first.coordinator.epochOf(key)).toBe(epoch);
      expect(second.coordinator.owns(key)).toBe(false);
      await expect(first.coordinator.run(key, () => {})).rejects.toMatchObject({ code: "NOT_LEADER" });
      await clock.advance(5_000);
    }
    expect(first.log).not.toContain(`revoked ${moving}`);
    work.resolve();
    await done;
    await clock.advance(0);
    expect(first.coordinator.epochOf(key)).toBeUndefined();
    expect(toldOf(first.events)).toContain(`shard_revoked ${moving} ${epoch} moved`);
    await clock.advance(2_000);
    expect(second.coordinator.epochOf(key)).toBeGreaterThan(epoch);
    await stopAll();
  });

  it("waits for onAssigned, and then for onRevoked", async () => {
    const assigned = deferred();
    const revoked = deferred();
    const { clock, first, second, moving, key, epoch, stopAll } = await setUpMove({
      onAssigned: () => assigned.promise,
      onRevoked: () => revoked.promise,
    });
    second.coordinator.start();
    await clock.advance(30_000);
    expect(first.log).not.toContain(`revoked ${moving}`);
    expect(first.coordinator.epochOf(key)).toBe(epoch);
    assigned.resolve();
    await clock.advance(30_000);
    expect(first.log).toContain(`revoked ${moving}`);
    expect([first.coordinator.epochOf(key), first.coordinator.owns(key)]).toEqual([epoch, false]);
    expect(second.coordinator.owns(key)).toBe(false);
    revoked.resolve();
    await clock.advance(2_000);
    expect(second.coordinator.owns(key)).toBe(true);
    await stopAll();
  });

  it("of a shard that is wanted back meanwhile goes on to its end, and the shard is then got anew at once", async () => {
    const { clock, first, second, moving, key, epoch, stopAll } = await setUpMove();
    const work = deferred();
    const done = first.coordinator.run(key, () => work.promise);
    second.coordinator.start();
    await clock.advance(3_000);
    await second.coordinator.stop();
    await clock.advance(10_500);
    expect([first.coordinator.owns(key), first.coordinator.epochOf(key)]).toEqual([false, epoch]);
    work.resolve();
    await done;
    await clock.advance(1);
    expect(first.coordinator.epochOf(key)).toBeGreaterThan(epoch);
    expect(first.log.filter((entry) => entry.split(" ")[1] === `${moving}`)).toEqual([
      `assigned ${moving} ${epoch}`,
      `revoked ${moving}`,
      `assigned ${moving} ${first.coordinator.epochOf(key)}`,
    ]);
    expect(exclusive([first]).size).toBe(256);
    await stopAll();
  });

  it("is over for whoever loses the shard meanwhile", async () => {
    const { clock, first, second, moving, key, epoch, stopAll } = await setUpMove();
    const work = deferred();
    const done = first.coordinator.run(key, () => work.promise);
    second.coordinator.start();
    await clock.advance(3_000);
    first.network.cut("both");
    await clock.advance(18_000);
    expect(first.coordinator.epochOf(key)).toBeUndefined();
    expect(second.coordinator.owns(key)).toBe(true);
    work.resolve();
    await done;
    first.network.heal();
    await clock.advance(2_000);
    expect(toldOf(first.events)).toContain(`shard_revoked ${moving} ${epoch} deadline`);
    await stopAll();
  });

  it("goes on once a store that was down comes back, whether it was down for the release or the acquisition", async () => {
    const { clock, members, first, second, key, stopAll } = await setUpMove();
    const work = deferred();
    const done = first.coordinator.run(key, () => work.promise);
    second.coordinator.start();
    await clock.advance(3_000);
    first.network.cut("requests");
    second.network.cut("requests");
    work.resolve();
    await done;
    await clock.advance(4_000);
    expect(second.coordinator.owns(key)).toBe(false);
    first.network.heal();
    second.network.heal();
    // The release did not arrive: the lease has to lapse.
    await clock.advance(17_000);
    expect(second.coordinator.owns(key)).toBe(true);
    expect(inOrder(exclusive(members))).toEqual(inOrder(placesAmong(["node-1", "node-2"])));
    await stopAll();
  });
});
