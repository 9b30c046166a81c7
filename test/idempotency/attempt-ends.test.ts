import { EvenkeelError, type EvenkeelEvent, type IdempotencyOptions } from "evenkeel";
import { Partition } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { claimAsDead, deferred, setUp, watch } from "./set-up.ts";

/** How each attempt that began has ended by the promise of ExecutionEvent: the event that ended it, and its token. */
function endsOf(events: readonly EvenkeelEvent[]): string[] {
  return events.flatMap((event) => {
    switch (event.type) {
      case "completed":
      case "released":
      case "complete_failed":
      case "stale_write":
        return [`${event.type} ${event.fencingToken}`];
      case "lease_lost":
        return "error" in event ? [`${event.type} ${event.fencingToken}`] : [];
      case "store_error":
      case "rejected":
        return event.attempt === undefined ? [] : [`${event.type} ${event.fencingToken}`];
      default:
        return [];
    }
  });
}

type Options = Partial<IdempotencyOptions<undefined, unknown>>;

/** An attempt that fell silent under its lease of 3 s; what comes of it is for the test to say. */
async function silent(options: Options = {}) {
  const partition = new Partition();
  const world = setUp({ partition });
  const gate = deferred<unknown>();
  const called = watch(world.once<undefined, unknown>(() => gate.promise, { leaseMs: 3_000, ...options })(undefined));
  await world.clock.advance(0);
  partition.cut("both");
  await world.clock.advance(3_000);
  return { ...world, partition, gate, called };
}

describe("every attempt that begins ends once for those who listen", () => {
  it("when its function returns, throws or completes early", async () => {
    const { once, events } = setUp();
    await once(() => 1)(undefined, { key: "a" });
    await once(() => Promise.reject(new Error("no")))(undefined, { key: "b" }).catch(() => {});
    await once(() => Promise.reject(new Error("no")), { onError: "store" })(undefined, { key: "c" }).catch(() => {});
    await once((_input, ctx) => ctx.complete(1).then(() => Promise.reject(new Error("no"))))(undefined, {
      key: "d",
    }).catch(() => {});
    await once(() => () => 1)(undefined, { key: "e" });
    const ends = ["completed 1", "released 2", "completed 3", "completed 4", "completed 5"];
    expect(endsOf(events)).toEqual(ends);
  });

  it.each<[string, Options, string]>([
    ["adopts", { onLeaseLost: "adopt" }, "a value"],
    ["has its own", { onLeaseLost: "own" }, "a value"],
    ["throws", { onLeaseLost: "throw" }, "an error"],
    ["adopts", { onLeaseLost: "adopt" }, "an error"],
  ])("when it is stale and its caller %s (%j), after %s", async (_how, options, what) => {
    const { rival, partition, gate, clock, events, called } = await silent(options);
    await rival(() => "the winner's")(undefined);
    partition.heal();
    if (what === "a value") gate.resolve("stale");
    else gate.reject(new Error("stale"));
    await clock.advance(0);
    expect(called.state).not.toBe("pending");
    expect(endsOf(events)).toEqual([what === "a value" ? "stale_write 1" : "lease_lost 1"]);
  });

  it("when its record is gone", async () => {
    const { partition, gate, clock, events, called, inner } = await silent({ retentionMs: 5_000 });
    await clock.advance(3_600_000);
    await inner.executions.purge({ limit: 10 }, { timeoutMs: 1_000 });
    partition.heal();
    gate.reject(new Error("no"));
    await clock.advance(0);
    expect(called.error).toMatchObject({ message: "no" });
    expect(endsOf(events)).toEqual(["lease_lost 1"]);
  });

  it.each(["a value", "an error"])("when the store is gone by the time it has %s", async (what) => {
    const { gate, clock, events, called } = await silent();
    if (what === "a value") gate.resolve("done");
    else gate.reject(new Error("no"));
    await clock.advance(60_000);
    expect(called.state).not.toBe("pending");
    expect(endsOf(events)).toEqual([what === "a value" ? "complete_failed 1" : "store_error 1"]);
  });

  it("when a resolver does not know what became of the one before, whether the claim can be given back or not", async () => {
    for (const isDown of [false, true]) {
      const partition = new Partition();
      const { once, clock, inner, events } = setUp({ partition });
      await claimAsDead(inner, 1_000);
      await clock.advance(1_000);
      const onAbandoned = (): "unknown" => {
        if (isDown) partition.cut("both");
        return "unknown";
      };
      const called = watch(once<undefined, unknown>(() => 1, { onAbandoned })(undefined));
      await clock.advance(60_000);
      expect(called.error).toBeInstanceOf(EvenkeelError);
      expect(endsOf(events)).toEqual([isDown ? "store_error 2" : "rejected 2"]);
      expect(events[0]).toMatchObject({ type: "taken_over", attempt: 2, fencingToken: 2 });
    }
  });

  it("and no event of a call that began none says that one ended", async () => {
    const { once, clock, events } = setUp({ decide: () => "lostRequest" });
    watch(once(() => 1)(undefined));
    await clock.advance(60_000);
    expect(events.map(({ type }) => type)).toEqual(["store_error"]);
    expect(endsOf(events)).toEqual([]);
  });
});

describe("a released attempt", () => {
  it.each<[unknown, string]>([
    [new RangeError("secret"), "RangeError"],
    [Object.assign(new Error("secret"), { code: "ECONNREFUSED" }), "ECONNREFUSED"],
    [Object.assign(new Error("secret"), { code: "a secret of many words", name: "CardError" }), "CardError"],
    [Object.assign(new Error("secret"), { name: "secret\nsecret" }), "_OTHER"],
    [new EvenkeelError("FENCED", "secret"), "FENCED"],
    ["secret", "_OTHER"],
    [undefined, "_OTHER"],
    [
      new Proxy(new Error("secret"), {
        get: () => {
          throw new Error("secret");
        },
      }),
      "_OTHER",
    ],
  ])("says what was thrown by no more than its code or name (%#)", async (thrown, errorType) => {
    const { once, eventsOf } = setUp();
    await once(() => Promise.reject(thrown))(undefined).catch(() => {});
    expect(eventsOf("released")).toMatchObject([{ errorType }]);
    expect(JSON.stringify(eventsOf("released"))).not.toContain("secret");
  });
});
