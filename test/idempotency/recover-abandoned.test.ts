import { type AbandonedExecution, type EvenkeelEvent, recoverAbandoned } from "evenkeel";
import { seededRandom } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { CALL, setUp, thrownBy, watch } from "./set-up.ts";

describe("recoverAbandoned", () => {
  it("stores what the resolver knows, releases what may run again, and leaves the rest", async () => {
    const { crash, rival, store, clock, inner } = setUp();
    for (const key of ["known", "retry", "unknown", "throws"]) {
      await crash(async (ctx) => void (await ctx.step("reserve", () => key)), undefined, { key: () => key });
    }
    const asked: AbandonedExecution[] = [];
    const report = await recoverAbandoned<string>({
      store,
      clock,
      resolver: (record) => {
        asked.push(record);
        switch (record.key) {
          case "known":
            return { completed: "found at the bank" };
          case "throws":
            throw new Error("bank is down");
          default:
            return record.key as "retry" | "unknown";
        }
      },
    });
    expect(report).toEqual({ completed: 1, retried: 1, left: 2 });
    expect(asked.map(({ key }) => key).sort()).toEqual(["known", "retry", "throws", "unknown"]);
    for (const { key, steps, attempt, operation } of asked) {
      expect({ steps, attempt, operation }).toEqual({
        steps: [{ name: "reserve", value: key }],
        attempt: 1,
        operation: "charge",
      });
    }
    const charge = rival((_input: undefined, ctx) => `run as ${ctx.attempt}`, { onAbandoned: "reject" });
    expect(await charge(undefined, { key: "known" })).toBe("found at the bank");
    expect(await thrownBy(charge(undefined, { key: "unknown" }))).toMatchObject({ code: "ABANDONED" });
    expect(await thrownBy(charge(undefined, { key: "throws" }))).toMatchObject({ code: "ABANDONED" });
    expect(await charge(undefined, { key: "retry" })).toBe("run as 2");
    expect(await inner.executions.list({ status: "abandoned", limit: 10 }, { timeoutMs: 1 })).toHaveLength(2);
  });

  it("keeps the steps of what it releases for a retry", async () => {
    const { crash, rival, store, clock } = setUp();
    let reserved = 0;
    await crash((ctx) => ctx.step("reserve", () => void reserved++));
    await recoverAbandoned({ store, clock, resolver: () => "retry" });
    await rival((_input: undefined, ctx) => ctx.step("reserve", () => void reserved++))(undefined);
    expect(reserved).toBe(1);
  });

  it("tells of a retry that it granted, and of a record that was gone, that nothing was thrown", async () => {
    const { crash, store, clock, inner } = setUp();
    const events: EvenkeelEvent[] = [];
    const options = { store, clock, onEvent: (event: EvenkeelEvent) => events.push(event) };
    await crash();
    await recoverAbandoned({ ...options, resolver: () => "retry" });
    expect(events).toMatchObject([{ type: "taken_over" }, { type: "released", attempt: 2 }]);
    expect(events[1]).not.toHaveProperty("errorType");

    events.length = 0;
    const gone = setUp({}, (executions) => ({
      list: async (...asked) => {
        const records = await executions.list(...asked);
        if (records.length > 0) await gone.clock.advance(1_000);
        return records;
      },
    }));
    await gone.crash(() => {}, undefined, { retentionMs: 60_000 });
    await gone.clock.advance(59_500);
    const report = await recoverAbandoned({
      ...options,
      store: gone.store,
      clock: gone.clock,
      resolver: () => "retry",
    });
    expect(report).toEqual({ completed: 0, retried: 0, left: 1 });
    expect(events).toMatchObject([{ type: "claimed" }, { type: "released", attempt: 1 }]);
    expect(events[1]).not.toHaveProperty("errorType");
    for (const ledger of [inner, gone.inner])
      expect(await ledger.executions.list({ status: "running", limit: 10 }, CALL)).toEqual([]);
    expect(await gone.record()).toBeUndefined();
  });

  it("asks about each record once, however many sweep at the same time", async () => {
    const { crash, store, clock, inner } = setUp();
    for (const key of ["a", "b", "c"]) await crash(() => {}, undefined, { key: () => key });
    const asked: string[] = [];
    const sweep = (ledger: typeof store) =>
      recoverAbandoned<string>({
        store: ledger,
        clock,
        resolver: async ({ key }) => {
          asked.push(key);
          await clock.sleep(100);
          return { completed: key };
        },
      });
    const sweeps = [watch(sweep(store)), watch(sweep({ ...inner })), watch(sweep({ ...inner }))];
    await clock.advance(10_000);
    expect(asked.sort()).toEqual(["a", "b", "c"]);
    const completed = sweeps.reduce((sum, { value }) => sum + (value?.completed ?? 0), 0);
    expect(completed).toBe(3);
  });

  it("looks at one operation, at no more than its limit, and leaves what runs or is completed alone", async () => {
    const { crash, rival, store, clock } = setUp();
    await rival(() => "done")(undefined, { key: "completed" });
    await crash(() => {}, undefined, { operation: "refund" });
    for (const key of ["a", "b", "c"]) await crash(() => {}, undefined, { key: () => key });
    let asked = 0;
    const resolver = () => {
      asked += 1;
      return "unknown" as const;
    };
    expect(await recoverAbandoned({ store, clock, resolver, operation: "refund" })).toMatchObject({ left: 1 });
    expect(await recoverAbandoned({ store, clock, resolver, limit: 2 })).toMatchObject({ left: 2 });
    expect(asked).toBe(3);
  });

  it("sweeps more than a page", async () => {
    const { store, clock, inner } = setUp();
    const times = { leaseMs: 1_000, retentionMs: 60_000, onAbandoned: "takeover" as const };
    for (let index = 0; index < 250; index += 1) {
      const id = index.toString(16).padStart(64, "0");
      const request = { id, operation: "charge", scope: "", key: `${index}`, nonce: id, ...times };
      await inner.executions.claim(request, { timeoutMs: 1 });
    }
    await clock.advance(1_000);
    const report = await recoverAbandoned<string>({ store, clock, resolver: ({ key }) => ({ completed: key }) });
    expect(report).toEqual({ completed: 250, retried: 0, left: 0 });
  });

  it("ends with the signal's reason between two records, and keeps what it settled", async () => {
    const { crash, store, clock, inner } = setUp();
    for (const key of ["a", "b"]) await crash(() => {}, undefined, { key: () => key });
    const controller = new AbortController();
    const reason = new Error("enough");
    const swept = recoverAbandoned<string>({
      store,
      clock,
      signal: controller.signal,
      resolver: () => {
        controller.abort(reason);
        return { completed: "known" };
      },
    });
    expect(await thrownBy(swept)).toBe(reason);
    expect(await inner.executions.list({ status: "completed", limit: 10 }, { timeoutMs: 1 })).toHaveLength(1);
  });

  it("is STORE_UNAVAILABLE when the store hangs", async () => {
    const { store, clock } = setUp({ decide: () => "hangBefore" });
    const swept = watch(recoverAbandoned({ store, clock, resolver: () => "retry" }));
    await clock.advance(5_000);
    expect(swept.error).toMatchObject({ code: "STORE_UNAVAILABLE" });
  });

  it("refuses wrong options by name", async () => {
    const { store } = setUp();
    for (const wrong of [{ limit: 0 }, { leaseMs: -1 }, { resolver: "retry" }, { operation: "" }, { every: 5 }]) {
      const error = await thrownBy(recoverAbandoned({ store, resolver: () => "retry", ...wrong } as never));
      expect(error).toMatchObject({ code: "INVALID_OPTIONS" });
      expect((error as Error).message).toContain(Object.keys(wrong)[0]);
    }
  });
});

describe("a sweep that settles nothing", () => {
  it("leaves a record its own retention, and an outcome that it stores too", async () => {
    const { crash, rival, store, clock } = setUp();
    const days = (n: number): number => n * 86_400_000;
    const options = { retentionMs: days(7), onAbandoned: "reject" as const };
    await crash(() => {}, undefined, { ...options, key: () => "unknown" });
    await crash(() => {}, undefined, { ...options, key: () => "known" });
    await clock.advance(days(2));
    const resolver = ({ key }: AbandonedExecution) => (key === "known" ? { completed: "found" } : "unknown");
    expect(await recoverAbandoned<string>({ store, clock, resolver })).toEqual({ completed: 1, retried: 0, left: 1 });
    await clock.advance(days(4));
    const charge = rival(() => "ran again", options);
    expect(await thrownBy(charge(undefined, { key: "unknown" }))).toMatchObject({ code: "ABANDONED" });
    expect(await charge(undefined, { key: "known" })).toBe("found");
  });

  it("keeps no record from its turn in the sweeps after it", async () => {
    const { crash, store, clock } = setUp();
    for (let n = 0; n < 30; n += 1) await crash(() => {}, undefined, { key: () => `k${n}`, leaseMs: 10 });
    const asked = new Set<string>();
    const random = seededRandom(5);
    const resolver = ({ key }: AbandonedExecution): "unknown" => {
      asked.add(key);
      return "unknown";
    };
    for (let sweep = 0; sweep < 40; sweep += 1) await recoverAbandoned({ store, clock, random, limit: 5, resolver });
    expect(asked.size).toBe(30);
  });

  it("counts nothing as completed that is not durable", async () => {
    const { crash, store, clock, record } = setUp({ faults: [{ on: "executions.complete", fault: "lostRequest" }] });
    await crash();
    const sweep = thrownBy(recoverAbandoned<string>({ store, clock, resolver: () => ({ completed: "found" }) }));
    await clock.advance(60_000);
    expect(await sweep).toMatchObject({ code: "STORE_UNAVAILABLE" });
    expect(await record()).toMatchObject({ status: "abandoned" });
  });
});
