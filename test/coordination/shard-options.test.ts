import { memoryStore } from "evenkeel/memory";
import { ManualClock } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { jumpHash } from "../../src/coordination/jump-hash.ts";
import { ShardCoordinator } from "../../src/coordination/shard-coordinator.ts";
import { shardSettings } from "../../src/coordination/shard-settings.ts";

const OPTIONS = { store: memoryStore({ clock: new ManualClock() }), name: "web", member: "node-1" };

function refusalOf(options: object): string {
  try {
    new ShardCoordinator({ ...OPTIONS, ...options });
  } catch (error) {
    expect(error).toMatchObject({ code: "INVALID_OPTIONS" });
    return (error as Error).message;
  }
  return "none";
}

describe("durations", () => {
  it.each([
    [{ leaseDurationMs: 10_000 }, /leaseDurationMs must be greater than renewDeadlineMs/],
    [{ leaseDurationMs: 999, renewDeadlineMs: 1_000, retryPeriodMs: 100 }, /leaseDurationMs must be greater than ren/],
    [{ renewDeadlineMs: 15_000 }, /leaseDurationMs must be greater than renewDeadlineMs/],
    [{ renewDeadlineMs: 2_400 }, /renewDeadlineMs must be greater than 1.2 times retryPeriodMs/],
    [{ retryPeriodMs: 9_000 }, /renewDeadlineMs must be greater than 1.2 times retryPeriodMs/],
    [{ leaseDurationMs: 0 }, /leaseDurationMs must be a positive whole number/],
    [{ renewDeadlineMs: -1 }, /renewDeadlineMs must be a positive whole number/],
    [{ retryPeriodMs: 0.5 }, /retryPeriodMs must be a positive whole number/],
    [{ retryPeriodMs: Number.NaN }, /retryPeriodMs must be a positive whole number/],
    [{ leaseDurationMs: "15s" }, /leaseDurationMs must be a positive whole number/],
  ])("%j are refused, and it says which", (options, message) => {
    expect(refusalOf(options)).toMatch(message);
  });

  it("at the edge of what may be are taken", () => {
    expect(refusalOf({ leaseDurationMs: 10_001 })).toBe("none");
    expect(refusalOf({ renewDeadlineMs: 2_401 })).toBe("none");
    expect(refusalOf({ leaseDurationMs: 8, renewDeadlineMs: 7, retryPeriodMs: 5 })).toBe("none");
  });
});

describe("other options", () => {
  it.each([
    [{ weight: -1 }, /weight must be a finite number that is not negative/],
    [{ weight: Number.POSITIVE_INFINITY }, /weight must be a finite number/],
    [{ weight: Number.NaN }, /weight must be a finite number/],
    [{ weight: "1" }, /weight must be a finite number/],
    [{ shards: 0 }, /shards must be a whole number from 1 to 65,536/],
    [{ shards: 65_537 }, /shards must be a whole number/],
    [{ shards: 1.5 }, /shards must be a whole number/],
    [{ name: "" }, /name must be a well-formed text/],
    [{ name: "a\nb" }, /name must be a well-formed text/],
    [{ member: "\ud800" }, /member must be a well-formed text/],
    [{ member: undefined }, /member/],
    [{ store: undefined }, /store/],
    [{ store: { leases: { acquire() {}, renew() {}, release() {} } } }, /store must be a LedgerStore with leases/],
    [{ onAssigned: 1 }, /onAssigned must be a function/],
    [{ onRevoked: "no" }, /onRevoked must be a function/],
    [{ onEvent: {} }, /onEvent must be a function/],
    [{ clock: {} }, /clock must be a Clock/],
    [{ random: {} }, /random must be a Random/],
    [{ identity: "node-1" }, /identity/],
  ])("%o are refused, and it says which", (options, message) => {
    expect(refusalOf(options)).toMatch(message);
  });

  it("have the defaults that are documented", () => {
    expect(shardSettings(OPTIONS)).toMatchObject({
      weight: 1,
      shards: 256,
      leaseDurationMs: 15_000,
      renewDeadlineMs: 10_000,
      retryPeriodMs: 2_000,
    });
  });
});

describe("the shard of a key", () => {
  it("is its jump hash, for all members and before they start", () => {
    const coordinator = new ShardCoordinator(OPTIONS);
    const few = new ShardCoordinator({ ...OPTIONS, shards: 7 });
    for (const key of ["", "order-17", "🦊", "a/b"]) {
      expect(coordinator.shardOf(key)).toBe(jumpHash(key, 256));
      expect(few.shardOf(key)).toBe(jumpHash(key, 7));
    }
  });

  it("is nobody's before a start: nothing is owned, held or run", async () => {
    const coordinator = new ShardCoordinator(OPTIONS);
    expect([coordinator.owns("a"), coordinator.epochOf("a"), coordinator.ownedShards()]).toEqual([
      false,
      undefined,
      [],
    ]);
    await expect(coordinator.run("a", () => expect.unreachable())).rejects.toMatchObject({ code: "NOT_LEADER" });
    await coordinator.stop();
  });
});
