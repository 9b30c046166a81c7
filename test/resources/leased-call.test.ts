import { memoryStore } from "evenkeel/memory";
import { CallLog, type FaultPlan, faultyStore, ManualClock, seededRandom } from "evenkeel/testing";
import { afterEach, describe, expect, it } from "vitest";
import { Stopwatch } from "../../src/clock.ts";
import { callUnderLease, type LeasedCall, type LeasedCallResult } from "../../src/resources/leased-call.ts";
import { RowWriter } from "../../src/resources/row-writer.ts";
import type { ResourceRow } from "../../src/store.ts";

const CALL = { timeoutMs: 1_000 };
const LEASE_MS = 3_000;
const clocks: ManualClock[] = [];

afterEach(() => {
  for (const clock of clocks.splice(0)) expect(clock.pendingTimers).toBe(0);
});

const never = (): Promise<never> => new Promise(() => {});

/** A row of which this process has just got the lease, and calls under it. */
async function setUp(plan: FaultPlan = {}, storeTimeoutMs = 500) {
  const clock = new ManualClock();
  clocks.push(clock);
  const inner = memoryStore({ clock });
  const log = new CallLog();
  const store = faultyStore(inner, { clock, onCall: log.onCall, ...plan });
  const common = { group: "web", epoch: () => 0, clock, storeTimeoutMs };
  const writer = new RowWriter({ ...common, store, random: seededRandom(1) });
  const rival = new RowWriter({ ...common, store: inner, random: seededRandom(2) });
  const granted = await rival.write({
    kind: "create",
    id: "a",
    after: 0,
    state: "PENDING",
    spec: "1",
    generation: 2,
    reason: "Missing",
    attempt: 1,
    lease: { durationMs: LEASE_MS, token: "grant" },
  });
  const row = (granted as { row: ResourceRow }).row;
  const now = async (): Promise<ResourceRow> => (await inner.resources.get("web", "a", CALL)) as ResourceRow;

  function call<T>(fn: LeasedCall<T>["call"], options: Partial<LeasedCall<T>> = {}) {
    const seen: { result?: LeasedCallResult<T>; signal?: AbortSignal } = {};
    const called = callUnderLease<T>({
      writer,
      row,
      leaseMs: LEASE_MS,
      clock,
      call: (signal) => {
        seen.signal = signal;
        return fn(signal);
      },
      ...options,
    });
    void called.then((result) => {
      seen.result = result;
    });
    return seen;
  }
  return { clock, inner, log, rival, row, now, call };
}

describe("a call under a lease", () => {
  it("returns what it returned, at once or later, with the row as it stands", async () => {
    const { call, clock, row, log } = await setUp();
    const atOnce = call(() => 7);
    const thenable = call(() => ({ then: (pass: (value: number) => void) => pass(8) }) as PromiseLike<number>);
    const failing = call(() => Promise.reject(undefined));
    await clock.advance(0);
    expect(atOnce.result).toEqual({ status: "returned", value: 7, row });
    expect(thenable.result).toEqual({ status: "returned", value: 8, row });
    expect(failing.result).toEqual({ status: "threw", error: undefined, row });
    expect(atOnce.signal?.aborted).toBe(false);
    expect(log.total).toBe(0);
  });

  it("takes a throw at once for one that comes later", async () => {
    const { call, clock, row } = await setUp();
    const error = new Error("at once");
    const seen = call(() => {
      throw error;
    });
    await clock.advance(0);
    expect(seen.result).toEqual({ status: "threw", error, row });
  });

  it("renews every third of the lease, keeps all of the row, and ends with its last version", async () => {
    const { call, clock, row, now, log } = await setUp();
    const seen = call(() => clock.sleep(20_500));
    await clock.advance(20_000);
    expect(log.count("resources.apply")).toBe(20);
    await clock.advance(500);
    const { version: _v, leaseExpiresAt: _l, readAt: _r, ...kept } = row;
    expect(seen.result).toMatchObject({ status: "returned", row: { ...kept, version: 21 } });
    expect(await now()).toMatchObject({ ...kept, version: 21, leaseExpiresAt: row.createdAt + 20_000 + LEASE_MS });
  });

  it("waits for the renewal that is under way when it ends, because the next write needs its version", async () => {
    const faults = [{ on: "resources.apply", nth: 1, fault: { delayMs: 100, of: "reply" } }] as const;
    const { call, clock } = await setUp({ faults });
    const seen = call(() => clock.sleep(1_050));
    await clock.advance(1_099);
    expect(seen.result).toBeUndefined();
    await clock.advance(1);
    expect(seen.result).toMatchObject({ status: "returned", row: { version: 2 } });
  });

  it("that ends while a renewal hangs is over at the deadline, whatever the renewal did", async () => {
    const { call, clock } = await setUp({ faults: [{ on: "resources.apply", fault: "hangAfter" }] }, 60_000);
    const seen = call(() => clock.sleep(1_100));
    await clock.advance(2_999);
    expect(seen.result).toBeUndefined();
    await clock.advance(1);
    expect(seen.result).toMatchObject({ status: "returned", row: { version: 1 } });
    await clock.advance(60_000);
  });

  it("that has ended is not given up for its time, while its last renewal is waited for", async () => {
    const faults = [{ on: "resources.apply", nth: 1, fault: { delayMs: 100, of: "reply" } }] as const;
    const { call, clock } = await setUp({ faults });
    const seen = call(() => clock.sleep(1_050), { timeoutMs: 1_080 });
    await clock.advance(1_100);
    expect(seen.result).toMatchObject({ status: "returned", row: { version: 2 } });
    expect(seen.signal?.aborted).toBe(false);
  });

  it("is given up when its time is up, and its late failure is nobody's", async () => {
    const { call, clock, row } = await setUp();
    const seen = call(
      async () => {
        await clock.sleep(5_000);
        throw new Error("late");
      },
      { timeoutMs: 900 },
    );
    await clock.advance(900);
    expect(seen.result).toMatchObject({ status: "timedOut", error: { code: "WAIT_TIMEOUT" }, row });
    expect(seen.signal?.reason).toBe((seen.result as { error: unknown }).error);
    await clock.advance(5_000);
  });

  it("is given up when the given signal aborts, with its reason", async () => {
    const { call, clock, row } = await setUp();
    const stop = new AbortController();
    const seen = call(never, { signal: stop.signal });
    await clock.advance(100);
    const reason = new Error("stopping");
    stop.abort(reason);
    await clock.advance(0);
    expect(seen.result).toEqual({ status: "aborted", error: reason, row });
    expect(seen.signal?.reason).toBe(reason);
  });

  it("is not begun under a signal that has aborted, nor after the lease", async () => {
    const { call, clock } = await setUp();
    const aborted = call(never, { signal: AbortSignal.abort(new Error("before")) });
    const grantedSince = new Stopwatch(clock);
    await clock.advance(LEASE_MS);
    const late = call(never, { grantedSince });
    await clock.advance(0);
    expect(aborted.result).toMatchObject({ status: "aborted", error: { message: "before" } });
    expect(late.result).toEqual({ status: "lost" });
    expect([aborted.signal, late.signal]).toEqual([undefined, undefined]);
  });
});

describe("a lease that is lost", () => {
  it("to another writer ends the waiting at the next renewal, and tells who stands there", async () => {
    const { call, clock, rival, row } = await setUp();
    const seen = call(never);
    await rival.update(row, { attempt: 2, lease: { durationMs: LEASE_MS, token: "grant" } });
    await clock.advance(1_000);
    expect(seen.result).toMatchObject({ status: "lost", found: { attempt: 2 } });
    expect(seen.signal?.reason).toMatchObject({ code: "LEASE_LOST" });
  });

  it("to a higher epoch says which", async () => {
    const { call, clock, inner } = await setUp();
    const seen = call(never);
    await inner.resources.apply({ group: "web", epoch: 4, writes: [] }, CALL);
    await clock.advance(1_000);
    expect(seen.result).toEqual({ status: "lost", fencedBy: 4 });
  });

  it("by what the gate says ends the waiting without a write", async () => {
    const { call, clock, log } = await setUp();
    const seen = call(never, { gate: () => false });
    await clock.advance(1_000);
    expect(seen.result).toEqual({ status: "lost" });
    expect(log.total).toBe(0);
  });

  it("to a store that is down: not by one failed renewal, but at our own deadline", async () => {
    let isDown = true;
    const { call, clock } = await setUp({ decide: () => (isDown ? "lostRequest" : undefined) });
    const seen = call(never);
    await clock.advance(2_000);
    isDown = false;
    await clock.advance(900);
    isDown = true;
    expect(seen.result).toBeUndefined();
    await clock.advance(6_000);
    expect(seen.result).toMatchObject({ status: "lost", error: { code: "STORE_UNAVAILABLE" } });
  });

  it("to another writer says nothing of a failed renewal before the last good one", async () => {
    const faults = [
      { on: "resources.apply", nth: 1, fault: "hangBefore" },
      { on: "resources.apply", nth: 2, fault: "hangBefore" },
    ] as const;
    const { call, clock, rival, now } = await setUp({ faults });
    const seen = call(never);
    await clock.advance(2_000);
    await rival.update(await now(), { attempt: 2, lease: { durationMs: LEASE_MS, token: "grant" } });
    await clock.advance(1_000);
    expect(seen.result).toEqual({ status: "lost", found: expect.objectContaining({ attempt: 2, version: 3 }) });
  });

  it("over a suspension is not renewed any more", async () => {
    const { call, clock, log } = await setUp();
    const seen = call(never);
    await clock.set(clock.now() + LEASE_MS);
    await clock.advance(1_000);
    expect(seen.result).toEqual({ status: "lost" });
    expect(log.total).toBe(0);
  });

  it("at the deadline that counts from before the renewal was sent", async () => {
    const faults = [
      { on: "resources.apply", nth: 1, fault: { delayMs: 400, of: "reply" } },
      { on: "resources.apply", fault: "hangBefore" },
    ] as const;
    const { call, clock } = await setUp({ faults });
    const seen = call(never);
    // The first renewal was sent at 1,000, and answered at 1,400.
    await clock.advance(3_999);
    expect(seen.result).toBeUndefined();
    await clock.advance(1);
    expect(seen.result).toMatchObject({ status: "lost" });
    await clock.advance(1_000);
  });

  it.each([3_600_000, -3_600_000])("takes the wall clock's jump by %i ms for the worse of the two", async (jumpMs) => {
    const { call, clock } = await setUp({ faults: [{ on: "resources.apply", fault: "lostRequest" }] });
    const seen = call(never);
    await clock.set(clock.now() + jumpMs);
    // A jump forwards may have been a suspension: the lease is over when that is looked at. One back gives no more lease.
    await clock.advance(jumpMs > 0 ? 1_000 : 3_000);
    expect(seen.result).toMatchObject({ status: "lost" });
    await clock.advance(1_000);
  });

  it("not to our own renewal whose answer was lost", async () => {
    const faults = [1, 2].map((nth) => ({ on: "resources.apply", nth, fault: "hangAfter" }) as const);
    const { call, clock } = await setUp({ faults });
    const seen = call(() => clock.sleep(5_500));
    await clock.advance(10_000);
    expect(seen.result).toMatchObject({ status: "returned" });
  });

  it("is lost, and rejects nothing, where the gate throws at a renewal", async () => {
    const { call, clock } = await setUp();
    const seen = call(never, {
      gate: () => {
        throw new Error("no idea");
      },
    });
    await clock.advance(LEASE_MS / 3);
    expect(seen.result).toEqual({ status: "lost" });
    expect(seen.signal?.aborted).toBe(true);
  });

  it("has a moment to answer after a stop, which is not longer than that, and none where the row is not ours", async () => {
    const { call, clock, row } = await setUp();
    const stop = new AbortController();
    const options = { stop: { signal: stop.signal, graceMs: 100 } };
    const answering = call(
      (signal) => new Promise((resolve) => signal.addEventListener("abort", () => resolve("done"))),
      options,
    );
    const deaf = call(never, options);
    const foreign = call(never, { ...options, gate: () => false });
    stop.abort("enough");
    await clock.advance(0);
    expect(answering.result).toEqual({ status: "returned", value: "done", row });
    expect(foreign.result).toEqual({ status: "aborted", error: "enough", row });
    await clock.advance(99);
    expect(deaf.result).toBeUndefined();
    await clock.advance(1);
    expect(deaf.result).toEqual({ status: "aborted", error: "enough", row });
  });
});
