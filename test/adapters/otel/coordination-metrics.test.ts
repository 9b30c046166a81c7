import { purgeExpired, withIdempotency } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { ManualClock } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { setUpElection } from "../../coordination/set-up.ts";
import { setUpDivision } from "../../coordination/shard-set-up.ts";
import { setUpTelemetry } from "./telemetry.ts";

describe("the metrics of an election", () => {
  it("are 1 where this process leads, and 0 on those that follow", async () => {
    const { clock, candidate } = setUpElection();
    const processes = ["a", "b", "c"].map((identity) => {
      const telemetry = setUpTelemetry();
      return { telemetry, ...candidate({ identity, onEvent: telemetry.onEvent }) };
    });
    const [first, second] = processes;
    const leading = () => Promise.all(processes.map(({ telemetry }) => telemetry.value("election_leading")));
    for (const { elector } of processes) {
      elector.start();
      await clock.advance(100);
    }
    expect(await leading()).toEqual([1, 0, 0]);
    first?.network.cut("both");
    await clock.advance(30_000);
    const led = await leading();
    expect(led[0]).toBe(0);
    expect(led.reduce<number>((sum, value) => sum + (value ?? 0), 0)).toBe(1);
    const telemetry = first?.telemetry;
    expect(await telemetry?.value("election_leaderships_ended_total", { reason: "deadline" })).toBe(1);
    expect(await telemetry?.value("election_leaderships_ended_total", { reason: "failed" })).toBe(0);
    expect(await telemetry?.value("election_errors_total", { of: "store" })).toBeGreaterThan(0);
    expect(await second?.telemetry.value("election_epoch", { election: "web" })).toBe(2);
    expect(await second?.telemetry.value("election_changes_total")).toBe(2);
    first?.network.heal();
    await Promise.all([...processes.map(({ elector }) => elector.stop()), clock.advance(20_000)]);
    expect(await leading()).toEqual([0, 0, 0]);
  });
});

describe("the metrics of a division", () => {
  it("say what each member holds, and why shards left it", async () => {
    const { clock, running, member, stopAll } = setUpDivision();
    const { onEvent, value, series } = setUpTelemetry();
    await running(1, { onEvent, shards: 32 });
    expect(await value("shards_held", { division: "web", member: "node-1" })).toBe(32);
    const { coordinator } = member({ onEvent, shards: 32 });
    coordinator.start();
    await clock.advance(20_000);
    const held = (await series()).filter(({ name }) => name === "shards_held").map((one) => one.value);
    expect(held).toHaveLength(2);
    expect(held.reduce((sum, one) => sum + one, 0)).toBe(32);
    const moved = coordinator.ownedShards().length;
    expect(moved).toBeGreaterThan(0);
    expect(await value("shards_revoked_total", { member: "node-1", reason: "moved" })).toBe(moved);
    expect(await value("shards_revoked_total", { member: "node-1", reason: "lost" })).toBe(0);
    expect(await value("shards_assigned_total", { member: "node-2" })).toBe(moved);
    expect(await value("shards_members", { member: "node-1" })).toBe(2);
    await stopAll();
    expect(await value("shards_held", { member: "node-1" })).toBe(0);
    expect(await value("shards_held", { member: "node-2" })).toBe(0);
  });
});

describe("the metrics of a ledger", () => {
  it("count the expired records that were deleted", async () => {
    const clock = new ManualClock();
    const store = memoryStore({ clock });
    const { onEvent, value } = setUpTelemetry();
    const call = withIdempotency(() => 1, { store, operation: "charge", retentionMs: 1_000, clock });
    for (const key of ["a", "b", "c"]) await call(undefined, { key });
    await clock.advance(2_000);
    await purgeExpired({ store, onEvent, batchSize: 2, clock });
    expect(await value("idempotency_purged_records_total")).toBe(3);
    await store.close();
  });

  it("count the settings that a server would not tell", async () => {
    const { onEvent, value } = setUpTelemetry();
    onEvent({ type: "store_setting_unknown", at: 1, store: "redisStore", setting: "maxmemory-policy" });
    const labels = { store: "redisStore", setting: "maxmemory-policy" };
    expect(await value("store_settings_unknown_total", labels)).toBe(1);
  });
});
