import { type EvenkeelEvent, withIdempotency } from "evenkeel";
import { sqliteStore } from "evenkeel/sqlite";
import { describe, expect, it } from "vitest";
import { taggedJson } from "../../src/codec.ts";
import { outcomeCodec } from "../../src/idempotency/outcome.ts";
import { sameOutcome, sealOutcome, withTraceparent } from "../../src/idempotency/sealed-outcome.ts";
import type { StoredOutcome } from "../../src/store.ts";
import { openDatabase } from "../support/sqlite-files.ts";
import { setUp, thrownBy, watch } from "./set-up.ts";

const FIRST = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const SECOND = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/** A listener that wants every outcome known by this trace context, and writes down what it is told. */
function keeping(traceparent: unknown, events: EvenkeelEvent[] = []) {
  return (event: EvenkeelEvent): void => {
    events.push(event);
    if (event.type === "claimed" || event.type === "taken_over") event.keepTraceparent?.(traceparent as string);
  };
}

/** What the one record holds. */
async function outcomeOf(world: ReturnType<typeof setUp>): Promise<StoredOutcome> {
  const record = await world.record();
  if (record?.status !== "completed") throw new Error("not completed");
  return record.outcome;
}

describe("a trace context that is kept with an outcome", () => {
  it.each(["store", "cache", "waiting"] as const)("is told with a replay from the %s", async (from) => {
    const world = setUp();
    const first = watch(
      world.once(() => world.clock.sleep(100).then(() => "done"), { onEvent: keeping(FIRST) })(undefined),
    );
    if (from !== "waiting") await world.clock.advance(100);
    else await world.clock.advance(0);
    const again = world.once(() => "never", { inFlight: "wait", cache: { maxEntries: 1 } });
    const replayed = watch(again(undefined));
    await world.clock.advance(1_000);
    if (from === "cache") await again(undefined);
    expect([first.value, replayed.value]).toEqual(["done", "done"]);
    expect(world.eventsOf("replayed").at(-1)).toMatchObject({ from, traceparent: FIRST });
  });

  it("is told with a replay of an error, and sealed with a tombstone", async () => {
    const failing = setUp();
    const fail = failing.once(() => Promise.reject(new RangeError("no")), {
      onError: "store",
      onEvent: keeping(FIRST),
    });
    await thrownBy(fail(undefined));
    expect(await thrownBy(failing.once(() => 1)(undefined))).toMatchObject({ name: "RangeError", message: "no" });
    expect(failing.eventsOf("replayed")).toMatchObject([{ traceparent: FIRST }]);
    const burying = setUp();
    await burying.once(() => () => "no encoding", { onEvent: keeping(FIRST) })(undefined);
    expect((await outcomeOf(burying)).bytes[0]).toBe(2);
    expect(await thrownBy(burying.once(() => 1)(undefined))).toMatchObject({ code: "RESULT_NOT_REPLAYABLE" });
  });

  it("is that of the attempt whose outcome stands", async () => {
    const world = setUp();
    await world.crash(() => {}, undefined, { onEvent: keeping(FIRST) });
    await world.once(() => "done", { onEvent: keeping(SECOND) })(undefined);
    await world.once(() => "never")(undefined);
    expect(world.eventsOf("replayed")).toMatchObject([{ traceparent: SECOND }]);
  });

  it("goes along with a completion in a transaction of the user's", async () => {
    const db = openDatabase(":memory:");
    const store = sqliteStore(db);
    const events: EvenkeelEvent[] = [];
    const charge = withIdempotency(
      async (_input: undefined, ctx) => {
        db.exec("BEGIN");
        await ctx.complete("charged", db);
        db.exec("COMMIT");
        return "charged";
      },
      { store, operation: "charge", key: () => "k", onEvent: keeping(FIRST, events) },
    );
    expect(await charge(undefined)).toBe("charged");
    expect(await charge(undefined)).toBe("charged");
    expect(events.map(({ type }) => type)).toEqual(["claimed", "completed", "replayed"]);
    expect(events.at(-1)).toMatchObject({ traceparent: FIRST });
    await store.close();
    db.close();
  });

  it("makes no two equal outcomes unequal, nor two different ones equal", async () => {
    const equal = setUp();
    await equal.once(
      async (_input: undefined, ctx) => {
        await ctx.complete("a");
        await ctx.complete("a");
        return "a";
      },
      { onEvent: keeping(FIRST, equal.events) },
    )(undefined);
    expect(equal.types()).toEqual(["claimed", "completed"]);
    const unequal = setUp();
    const charge = unequal.once(
      (_input: undefined, ctx) => {
        void ctx.complete("a");
        return "b";
      },
      { onEvent: keeping(FIRST, unequal.events) },
    );
    expect(await charge.run(undefined)).toMatchObject({ value: "a", replayed: false });
    expect(await charge.run(undefined)).toMatchObject({ value: "a", replayed: true });
    expect(unequal.types()).toEqual(["claimed", "outcome_ignored", "completed", "replayed"]);
    const plain = sealOutcome("id", "value", Buffer.from("a"));
    expect(sameOutcome(plain, withTraceparent("id", plain, FIRST))).toBe(true);
    expect(sameOutcome(withTraceparent("id", plain, SECOND), withTraceparent("id", plain, FIRST))).toBe(true);
    const other = withTraceparent("id", sealOutcome("id", "value", Buffer.from("b")), FIRST);
    expect(sameOutcome(plain, other)).toBe(false);
  });

  it("does not count against maxResultBytes", async () => {
    const { once } = setUp();
    const maxResultBytes = taggedJson.encode("done").length;
    const charge = once(() => "done", { maxResultBytes, onEvent: keeping(FIRST) });
    await charge(undefined);
    expect(await charge(undefined)).toBe("done");
  });

  it.each<[string, unknown]>([
    ["another version", FIRST.replace("00-", "01-")],
    ["a trace id of zeros", `00-${"0".repeat(32)}-b7ad6b7169203331-01`],
    ["a span id of zeros", `00-0af7651916cd43dd8448eb211c80319c-${"0".repeat(16)}-01`],
    ["capitals", FIRST.toUpperCase()],
    ["a line end after it", `${FIRST}\n`],
    ["something else", { toString: () => FIRST }],
    ["nothing", undefined],
  ])("is left out when it is %s", async (_what, traceparent) => {
    const world = setUp();
    const charge = world.once(() => "done", { onEvent: keeping(traceparent, world.events) });
    await charge(undefined);
    expect((await outcomeOf(world)).bytes[0]).toBe(1);
    await charge(undefined);
    expect(world.events.at(-1)).not.toHaveProperty("traceparent");
  });

  it("is only taken while the listener runs", async () => {
    const world = setUp();
    let keep: ((traceparent: string) => void) | undefined;
    const charge = world.once(
      () => {
        keep?.(FIRST);
        return "done";
      },
      {
        onEvent: (event) => {
          if (event.type === "claimed") keep = event.keepTraceparent;
        },
      },
    );
    await charge(undefined);
    expect(keep).toBeTypeOf("function");
    expect((await outcomeOf(world)).bytes[0]).toBe(1);
  });
});

describe("what is stored of an outcome", () => {
  const ID = "ab".repeat(32);
  const codec = outcomeCodec(taggedJson, 1_000);
  const stored = (kind: StoredOutcome["kind"], base64: string): StoredOutcome => ({
    kind,
    bytes: new Uint8Array(Buffer.from(base64, "base64")),
  });
  // As ledgers in use hold them.
  const VALUE = stored("value", "Ae017Zzu0aBRT06/6+K/NDt7ImNoYXJnZWQiOnsiJGJpZ2ludCI6IjEwMCJ9fQ==");
  const ERROR = stored("error", "AX/9i9xLhu6o7/DBNRtPp057IiRlcnJvciI6eyJuYW1lIjoiVHlwZUVycm9yIiwibWVzc2FnZSI6Im5vIn19");

  it("is what it always was where no trace context is kept", () => {
    expect(codec.encodeValue(ID, { charged: 100n }).outcome).toEqual(VALUE);
    expect(codec.encodeError(ID, new TypeError("no")).outcome).toEqual(ERROR);
    expect(codec.decode(ID, VALUE)).toEqual({ ok: true, value: { charged: 100n } });
    expect(codec.decode(ID, ERROR)).toMatchObject({ ok: false, error: { name: "TypeError", message: "no" } });
  });

  it("is corrupt when any bit of it was changed, the trace context's included, or when anything is missing", () => {
    const { kind, bytes } = withTraceparent(ID, VALUE, FIRST);
    expect(codec.decode(ID, { kind, bytes })).toEqual({ ok: true, value: { charged: 100n } });
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));
      expect(() => codec.decode(ID, { kind, bytes: changed }), `byte ${at}`).toThrow("can't be read");
      expect(() => codec.decode(ID, { kind, bytes: bytes.subarray(0, at) }), `${at} bytes`).toThrow("can't be read");
    }
    expect(() => codec.decode("cd".repeat(32), { kind, bytes })).toThrow("can't be read");
    expect(() => codec.decode(ID, { kind: "error", bytes })).toThrow("can't be read");
  });
});
