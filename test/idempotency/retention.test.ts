import { describe, expect, it } from "vitest";
import { purgeExpired } from "../../src/idempotency/purge-expired.ts";
import type { LedgerStore } from "../../src/store.ts";
import { setUp, thrownBy, watch } from "./set-up.ts";

describe("the retention", () => {
  it("counts from the completion, and at its very end the record is absent", async () => {
    const { once, clock } = setUp();
    let runs = 0;
    const charge = once(
      async () => {
        runs += 1;
        await clock.sleep(20_000);
        return runs;
      },
      { retentionMs: 60_000 },
    );
    const first = watch(charge(undefined));
    await clock.advance(20_000);
    expect(first.value).toBe(1);
    await clock.advance(59_999);
    expect(await charge(undefined)).toBe(1);
    await clock.advance(1);
    const second = watch(charge.run(undefined));
    await clock.advance(20_000);
    expect(second.value).toMatchObject({ value: 2, attempt: 1, replayed: false });
  });

  it("is a day where nothing is said", async () => {
    const { once, clock } = setUp();
    let runs = 0;
    const charge = once(() => ++runs);
    await charge(undefined);
    await clock.advance(86_399_999);
    expect(await charge(undefined)).toBe(1);
    await clock.advance(1);
    expect(await charge(undefined)).toBe(2);
  });

  it("gives one execution to 50 callers at once on an expired record", async () => {
    const { once, clock } = setUp();
    let runs = 0;
    const charge = once(
      async () => {
        runs += 1;
        await clock.sleep(10);
        return runs;
      },
      { retentionMs: 1_000, inFlight: "wait" },
    );
    const first = watch(charge(undefined));
    await clock.advance(10);
    expect(first.value).toBe(1);
    await clock.advance(1_000);
    const calls = Array.from({ length: 50 }, () => watch(charge(undefined)));
    await clock.advance(600);
    expect(new Set(calls.map(({ value }) => value))).toEqual(new Set([2]));
    expect(runs).toBe(2);
  });

  it("gives a rising token to each execution of a key, also over expiry and purge", async () => {
    const { once, clock, store } = setUp();
    const tokens: number[] = [];
    const charge = once((_input: undefined, ctx) => void tokens.push(ctx.fencingToken), { retentionMs: 1_000 });
    for (let time = 0; time < 4; time += 1) {
      await charge(undefined);
      await clock.advance(1_000);
      if (time % 2 === 1) await purgeExpired({ store, clock });
    }
    expect(tokens).toHaveLength(4);
    expect(tokens.every((token, at) => at === 0 || token > (tokens[at - 1] ?? 0))).toBe(true);
  });

  it("accepts another payload when it is over", async () => {
    const { once, clock } = setUp();
    const charge = once((input: number) => input, { retentionMs: 1_000 });
    await charge(5);
    expect(await thrownBy(charge(6))).toMatchObject({ code: "FINGERPRINT_MISMATCH" });
    await clock.advance(1_000);
    expect(await charge(6)).toBe(6);
  });

  it("may be for ever", async () => {
    const { once, clock } = setUp();
    let runs = 0;
    const charge = once(() => ++runs, { retentionMs: Number.MAX_SAFE_INTEGER });
    await charge(undefined);
    await clock.advance(1_000 * 366 * 86_400_000);
    expect(await charge(undefined)).toBe(1);
  });
});

describe("purgeExpired", () => {
  it("deletes all that has expired, in batches, and tells each batch", async () => {
    const { once, clock, store, inner, events } = setUp();
    const charge = once(() => 1, { retentionMs: 1_000 });
    for (let index = 0; index < 25; index += 1) await charge(undefined, { key: `old-${index}` });
    await clock.advance(1_000);
    await charge(undefined, { key: "new" });
    const told: unknown[] = [];
    const at = clock.now();
    const report = await purgeExpired({ store, clock, batchSize: 10, onEvent: (event) => told.push(event) });
    expect(report).toEqual({ purged: 25 });
    expect(told).toEqual([10, 10, 5].map((count) => ({ type: "purged", at, count })));
    expect(await inner.executions.list({ limit: 100 }, { timeoutMs: 1 })).toHaveLength(1);
    expect(await purgeExpired({ store, clock })).toEqual({ purged: 0 });
    expect(events.filter(({ type }) => type === "purged")).toEqual([]);
  });

  it("goes on where the store's time was over before a batch was full, and does not chase what expires meanwhile", async () => {
    const { once, clock, inner } = setUp();
    const charge = once(() => 1, { retentionMs: 1_000 });
    for (let index = 0; index < 7; index += 1) await charge(undefined, { key: `old-${index}` });
    await clock.advance(1_000);
    const isShort: LedgerStore = {
      ...inner,
      executions: { ...inner.executions, purge: (_, call) => inner.executions.purge({ limit: 2 }, call) },
    };
    expect(await purgeExpired({ store: isShort, clock, batchSize: 100 })).toEqual({ purged: 7 });
    let batches = 0;
    const isBusy: LedgerStore = {
      ...inner,
      executions: {
        ...inner.executions,
        purge: async () => ({ purged: ++batches < 50 ? 3 : 0 }),
        countExpired: async () => ({ count: 5 }),
      },
    };
    expect(await purgeExpired({ store: isBusy, clock, batchSize: 100 })).toEqual({ purged: 9 });
  });

  it("asks a slow store once for each batch, and tells of all that it deleted", async () => {
    const { clock, inner } = setUp();
    const limits: number[] = [];
    const slow: LedgerStore = {
      ...inner,
      executions: {
        ...inner.executions,
        async purge({ limit }) {
          limits.push(limit);
          await clock.sleep(4_000);
          return { purged: limits.length === 1 ? limit : 0 };
        },
      },
    };
    const purging = watch(purgeExpired({ store: slow, clock }));
    await clock.advance(8_000);
    expect(purging).toMatchObject({ state: "fulfilled", value: { purged: 1_000 } });
    expect(limits).toEqual([1_000, 1_000]);
  });

  it("ends with the signal's reason between two batches", async () => {
    const { once, clock, store } = setUp();
    const charge = once(() => 1, { retentionMs: 1_000 });
    for (let index = 0; index < 5; index += 1) await charge(undefined, { key: `old-${index}` });
    await clock.advance(1_000);
    const controller = new AbortController();
    const reason = new Error("enough");
    const purging = purgeExpired({
      store,
      clock,
      batchSize: 2,
      signal: controller.signal,
      onEvent: () => controller.abort(reason),
    });
    expect(await thrownBy(purging)).toBe(reason);
    expect(await purgeExpired({ store, clock })).toEqual({ purged: 3 });
  });

  it("is STORE_UNAVAILABLE when the store hangs, and refuses wrong options by name", async () => {
    const { clock, store } = setUp({ decide: () => "hangBefore" });
    const purging = watch(purgeExpired({ store, clock }));
    await clock.advance(5_000);
    expect(purging).toMatchObject({ state: "rejected", error: { code: "STORE_UNAVAILABLE" } });
    for (const wrong of [{ batchSize: 0 }, { storeTimeoutMs: -1 }, { limit: 5 }]) {
      const error = (await thrownBy(purgeExpired({ store, ...wrong } as never))) as Error;
      expect(error).toMatchObject({ code: "INVALID_OPTIONS" });
      expect(error.message).toContain(Object.keys(wrong)[0]);
    }
  });
});
