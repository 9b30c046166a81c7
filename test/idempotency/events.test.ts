import type { EvenkeelEvent } from "evenkeel";
import { Partition } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { keyHashOf, recordId } from "../../src/idempotency/key.ts";
import { deferred, setUp, thrownBy, watch } from "./set-up.ts";

const SECRET = "secret-key-4242";

describe("events", () => {
  it("say when, which operation and a hash of the record, and never a key, an input or an outcome", async () => {
    const partition = new Partition();
    const { once, rival, crash, clock, events } = setUp({ partition });
    const call = { key: SECRET, scope: "secret-scope" };
    const input = { card: "secret-card" };
    const keyed = { key: () => SECRET, scope: "secret-scope" };
    const charge = once((_input: object) => ({ answer: "secret-answer" }), { inFlight: "wait" });
    await crash(() => {}, input, keyed);
    await charge(input, call);
    await charge(input, call);
    await thrownBy(charge({ card: "another secret-card" }, call));
    const failing = once(() => Promise.reject(new Error("declined")), keyed);
    await thrownBy(failing(undefined, { key: `${SECRET}-2` }));
    const burying = once<undefined, unknown>((_input, ctx) => {
      void ctx.complete("secret-early");
      return () => "secret";
    }, keyed);
    await burying(undefined, { key: `${SECRET}-3` });
    const buried = once<undefined, unknown>(() => () => "secret", keyed);
    await buried(undefined, { key: `${SECRET}-4` });
    await thrownBy(rival(() => 1)(undefined, { key: "" }));
    partition.cut("both");
    const cut = watch(charge(input, { key: `${SECRET}-5` }));
    await clock.advance(5_000);
    expect(cut.state).toBe("rejected");
    const types = new Set(events.map(({ type }) => type));
    expect(types.size).toBeGreaterThanOrEqual(7);
    for (const event of events) {
      expect(event).toMatchObject({ at: expect.any(Number), operation: "charge" });
      expect(JSON.stringify(event)).not.toContain("secret");
    }
    const [first] = events as [EvenkeelEvent & { keyHash: string }];
    expect(first.keyHash).toBe(keyHashOf(recordId("charge", "secret-scope", SECRET)));
  });

  it("tell a first run, a replay and a rejection", async () => {
    const { once, clock, events } = setUp();
    const gate = deferred();
    const charge = once(() => gate.promise);
    const first = charge(undefined);
    await clock.advance(500);
    await thrownBy(charge(undefined));
    gate.resolve();
    await first;
    await charge(undefined);
    expect(events.map(({ at: _at, ...event }) => event)).toMatchObject([
      { type: "claimed", attempt: 1, fencingToken: 1 },
      { type: "rejected", code: "IN_PROGRESS" },
      { type: "completed", attempt: 1, fencingToken: 1, durationMs: 500 },
      { type: "replayed", from: "store" },
    ]);
  });

  it("tell a store that fails", async () => {
    const { once, clock, eventsOf } = setUp({ decide: () => "lostRequest" });
    watch(once(() => 1)(undefined));
    await clock.advance(5_000);
    expect(eventsOf("store_error")).toMatchObject([{ ranUnprotected: false, error: { code: "STORE_UNAVAILABLE" } }]);
  });

  it.each<[string, (event: EvenkeelEvent) => void]>([
    [
      "throws",
      () => {
        throw new Error("telemetry");
      },
    ],
    ["rejects", () => Promise.reject(new Error("telemetry"))],
    ["throws nothing at all", () => Promise.reject()],
  ])("change nothing when their listener %s", async (_what, onEvent) => {
    const { once } = setUp();
    let fail = true;
    const charge = once(
      () => {
        if (!fail) return "done";
        fail = false;
        throw new Error("declined");
      },
      { onEvent },
    );
    await expect(charge(undefined)).rejects.toThrow("declined");
    expect(await charge(undefined)).toBe("done");
    expect(await charge(undefined)).toBe("done");
  });

  it("may be listened to by what calls the function again", async () => {
    const { once } = setUp();
    let again: Promise<unknown> | undefined;
    const charge = once(() => "done", {
      onEvent: (event) => {
        if (event.type === "completed") again = charge(undefined);
      },
    });
    await charge(undefined);
    expect(await again).toBe("done");
  });
});
