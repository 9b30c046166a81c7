import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import { OrderedSet } from "../../../adapters/stores/memory-ordered-set.ts";
import { compareCodePoints } from "../../../src/resource-record.ts";
import type { CreateResource } from "../../../src/store.ts";
import { ManualClock } from "../../../src/testing/index.ts";

const CALL = { timeoutMs: 1_000 };

describe("OrderedSet", () => {
  it("holds what was added and not deleted, in order, whatever the order of the calls", () => {
    const calls = fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 2_000 })), {
      maxLength: 3_000,
      size: "max",
    });
    fc.assert(
      fc.property(calls, fc.integer({ min: 0, max: 2_000 }), (steps, start) => {
        const set = new OrderedSet<number>((a, b) => a - b);
        const model = new Set<number>();
        for (const [adds, value] of steps) {
          if (adds && !model.has(value)) set.add(value);
          else if (!adds) set.delete(value);
          if (adds) model.add(value);
          else model.delete(value);
        }
        const sorted = [...model].sort((a, b) => a - b);
        expect([...set.from()]).toEqual(sorted);
        expect([...set.from((value) => value >= start)]).toEqual(sorted.filter((value) => value >= start));
      }),
      { numRuns: 50 },
    );
  });

  it("stays cheap among many that come at the end, in the middle and at the beginning", () => {
    const set = new OrderedSet<number>((a, b) => a - b);
    const values = Array.from({ length: 30_000 }, (_, index) => (index * 7_919) % 30_000);
    for (const value of values) set.add(value);
    for (const value of values) if (value % 3 > 0) set.delete(value);
    expect([...set.from()]).toEqual(Array.from({ length: 10_000 }, (_, index) => index * 3));
  });
});

describe("compareCodePoints", () => {
  it("orders texts as their UTF-8 bytes are ordered", () => {
    const text = fc.string({
      unit: fc.oneof(fc.constantFrom("a", "é", "\ud7ff", "\ue000", "\uffff", "\u{10000}", "\u{10ffff}")),
    });
    fc.assert(
      fc.property(text, text, (a, b) => {
        expect(Math.sign(compareCodePoints(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
    );
  });
});

describe("memoryStore's resources", () => {
  const GROUP = "workers";
  const creation = (id: string): CreateResource => {
    return { kind: "create", id, after: 0, nonce: id, state: "PROVISIONED", generation: 1, attempt: 1 };
  };

  it("tell who is silent by a clock that went back, too", async () => {
    const clock = new ManualClock(100_000);
    const { resources } = memoryStore({ clock });
    const ids = ["a", "b"];
    await resources.apply({ group: GROUP, epoch: 0, writes: ids.map(creation) }, CALL);
    clock.set(50_000);
    await resources.heartbeat({ group: GROUP, beats: [{ id: "b" }] }, CALL);
    const stale = () => resources.staleBefore({ group: GROUP, ageMs: 30_000, limit: 9 }, CALL);
    expect(await stale()).toEqual({ rows: [], nextInMs: 30_001 });
    clock.set(80_001);
    expect(await stale()).toMatchObject({ rows: [{ id: "b" }], nextInMs: 50_000 });
    clock.set(130_001);
    expect((await stale()).rows.map(({ id }) => id)).toEqual(["b", "a"]);
  });

  it("answer a pass at rest without a look at each row", async () => {
    const clock = new ManualClock(100_000);
    const { resources } = memoryStore({ clock });
    const count = 20_000;
    const writes = Array.from({ length: count }, (_, index) => creation(`web-${index}`));
    await resources.apply({ group: GROUP, epoch: 0, writes }, CALL);
    const { cursor } = await resources.changedSince({ group: GROUP, limit: count }, CALL);
    const before = process.cpuUsage();
    for (let pass = 0; pass < 2_000; pass += 1) {
      expect((await resources.changedSince({ group: GROUP, cursor, limit: 1_000 }, CALL)).rows).toEqual([]);
      expect((await resources.staleBefore({ group: GROUP, ageMs: 30_000, limit: 1_000 }, CALL)).nextInMs).toBe(30_001);
    }
    // 2,000 scans of 20,000 rows take minutes.
    expect(process.cpuUsage(before).user).toBeLessThan(5_000_000);
  });
});

describe("memoryStore's leases", () => {
  it("stay few though nobody asks for a name twice, and epochs go on rising", async () => {
    const clock = new ManualClock();
    const { leases } = memoryStore({ clock });
    let last = 0;
    for (let index = 0; index < 5_000; index += 1) {
      const asked = { name: `shard ${index}`, holder: "a", nonce: "n", durationMs: 10 };
      const answer = await leases.acquire(asked, CALL);
      expect(answer.status === "acquired" && answer.epoch > last).toBe(true);
      last = answer.epoch;
      await clock.advance(1);
    }
    // A lease that was swept is not there; one that has only lapsed is lost.
    const renewed = async (name: string, epoch: number) =>
      (await leases.renew({ name, holder: "a", epoch, durationMs: 10 }, CALL)).status;
    expect(await renewed("shard 0", 1)).toBe("missing");
    expect(await renewed("shard 4980", last)).toBe("lost");
    expect(await leases.list("", CALL)).toHaveLength(9);
    const again = await leases.acquire({ name: "shard 0", holder: "a", nonce: "n", durationMs: 10 }, CALL);
    expect(again.epoch).toBe(last + 1);
  });
});
