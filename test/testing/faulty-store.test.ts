import { isEvenkeelError } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import {
  CallLog,
  type FaultPlan,
  type FaultyCall,
  faultyStore,
  ManualClock,
  Partition,
  seededRandom,
} from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import type { ClaimRequest } from "../../src/store.ts";

const CALL = { timeoutMs: 1_000 };

function setUp(plan: FaultPlan = {}) {
  const clock = new ManualClock();
  const inner = memoryStore({ clock });
  const carriedOut = new CallLog();
  const watched = faultyStore(inner, { onCall: carriedOut.onCall });
  return { clock, inner, carriedOut, store: faultyStore(watched, { clock, ...plan }) };
}

function claim(nonce: string, id = "1".repeat(64)): ClaimRequest {
  return { id, operation: "charge", scope: "", nonce, leaseMs: 1_000, retentionMs: 1_000, onAbandoned: "takeover" };
}

/** "pending" until the promise settles. */
async function stateOf(promise: Promise<unknown>): Promise<string> {
  const turn = new Promise<string>((resolve) => setImmediate(() => resolve("pending")));
  return Promise.race([
    promise.then(
      () => "fulfilled",
      () => "rejected",
    ),
    turn,
  ]);
}

describe("faultyStore", () => {
  it("passes everything on with an empty plan", async () => {
    const { store } = setUp();
    expect(await store.executions.claim(claim("a"), CALL)).toMatchObject({ status: "acquired", attempt: 1 });
    expect(await store.executions.claim(claim("b"), CALL)).toMatchObject({ status: "running" });
    expect(await store.executions.get("1".repeat(64), CALL)).toMatchObject({ status: "running" });
    expect(await store.leases.get("x", CALL)).toBeUndefined();
    expect(await store.resources.get("g", "x", CALL)).toBeUndefined();
    await store.close();
    await expect(store.executions.claim(claim("c"), CALL)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  });

  it("loses a request: the store never sees it, and the error is a driver's", async () => {
    const { store, carriedOut } = setUp({ faults: [{ on: "executions.claim", nth: 1, fault: "lostRequest" }] });
    const error = await store.executions.claim(claim("a"), CALL).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(Error);
    expect(isEvenkeelError(error)).toBe(false);
    expect(carriedOut.total).toBe(0);
    expect(await store.executions.claim(claim("a"), CALL)).toMatchObject({ status: "acquired" });
  });

  it("loses a reply: the store has carried it out", async () => {
    const { store, inner } = setUp({ faults: [{ on: "executions.claim", nth: 1, fault: "lostReply" }] });
    await expect(store.executions.claim(claim("a"), CALL)).rejects.toThrow("connection was lost");
    expect(await inner.executions.claim(claim("b"), CALL)).toMatchObject({ status: "running" });
  });

  it("hangs before and after it is carried out", async () => {
    const { store, carriedOut } = setUp({
      faults: [
        { on: "executions.get", nth: 1, fault: "hangBefore" },
        { on: "executions.get", nth: 2, fault: "hangAfter" },
      ],
    });
    expect(await stateOf(store.executions.get("1", CALL))).toBe("pending");
    expect(carriedOut.total).toBe(0);
    expect(await stateOf(store.executions.get("1", CALL))).toBe("pending");
    expect(carriedOut.total).toBe(1);
  });

  it("carries a duplicate out twice and gives the second answer", async () => {
    const { store, carriedOut } = setUp({ faults: [{ on: "executions.claim", fault: "duplicate" }] });
    expect(await store.executions.claim(claim("a"), CALL)).toMatchObject({ status: "acquired", token: 1 });
    expect(carriedOut.count("executions.claim")).toBe(2);
  });

  it("carries a straying duplicate out again when its time comes", async () => {
    const { store, clock, carriedOut } = setUp({
      faults: [{ on: "executions.claim", fault: { duplicateAfterMs: 500 } }],
    });
    await store.executions.claim(claim("a"), CALL);
    expect(carriedOut.total).toBe(1);
    await clock.advance(500);
    expect(carriedOut.total).toBe(2);
  });

  it("delays a request on its clock, and a reply", async () => {
    const { store, clock, carriedOut } = setUp({
      faults: [
        { on: "executions.get", nth: 1, fault: { delayMs: 100 } },
        { on: "executions.get", nth: 2, fault: { delayMs: 100, of: "reply" } },
      ],
    });
    const slowRequest = store.executions.get("1", CALL);
    await clock.advance(99);
    expect(carriedOut.total).toBe(0);
    await clock.advance(1);
    expect(await stateOf(slowRequest)).toBe("fulfilled");
    const slowReply = store.executions.get("1", CALL);
    await clock.advance(99);
    expect(carriedOut.total).toBe(2);
    expect(await stateOf(slowReply)).toBe("pending");
    await clock.advance(1);
    expect(await stateOf(slowReply)).toBe("fulfilled");
  });

  it("asks the plan's function, with the operation, the number and the request", async () => {
    const asked: FaultyCall[] = [];
    const { store } = setUp({
      decide: (call) => {
        asked.push(call);
        return call.nth === 2 ? "lostRequest" : undefined;
      },
    });
    await store.executions.claim(claim("a"), CALL);
    await expect(store.executions.claim(claim("b"), CALL)).rejects.toThrow();
    await store.executions.get("x", CALL);
    expect(asked.map(({ operation, nth }) => [operation, nth])).toEqual([
      ["executions.claim", 1],
      ["executions.claim", 2],
      ["executions.get", 1],
    ]);
    expect(asked[0]?.request).toEqual(claim("a"));
  });

  it("lets planned faults speak before the function", async () => {
    const { store } = setUp({
      faults: [{ on: "executions.get", nth: 1, fault: "lostRequest" }],
      decide: () => "hangBefore",
    });
    await expect(store.executions.get("1", CALL)).rejects.toThrow("connection was lost");
  });

  it("draws the same faults for the same seed, about as often as it is told", async () => {
    const run = async (seed: number) => {
      const { store } = setUp({ random: seededRandom(seed), rates: { lostRequest: 0.2, lostReply: 0.1 } });
      const results: boolean[] = [];
      for (let time = 0; time < 1_000; time += 1) {
        results.push(
          await store.executions.get("1", CALL).then(
            () => true,
            () => false,
          ),
        );
      }
      return results;
    };
    const first = await run(5);
    expect(await run(5)).toEqual(first);
    expect(await run(6)).not.toEqual(first);
    const lost = first.filter((answered) => !answered).length;
    expect(lost).toBeGreaterThan(230);
    expect(lost).toBeLessThan(370);
  });

  it("cuts requests, replies, or both, until it heals", async () => {
    const partition = new Partition();
    const { store, carriedOut } = setUp({ partition });
    partition.cut("requests");
    expect(await stateOf(store.executions.get("1", CALL))).toBe("pending");
    expect(carriedOut.total).toBe(0);
    partition.cut("replies");
    expect(await stateOf(store.executions.get("1", CALL))).toBe("pending");
    expect(carriedOut.total).toBe(1);
    partition.cut("both");
    expect(await stateOf(store.executions.get("1", CALL))).toBe("pending");
    expect(carriedOut.total).toBe(1);
    expect(partition.state).toBe("cut");
    partition.heal();
    expect(await stateOf(store.executions.get("1", CALL))).toBe("fulfilled");
  });

  it("loses the reply of a call that is under way when the network splits", async () => {
    const partition = new Partition();
    const { store, clock } = setUp({
      partition,
      faults: [{ on: "executions.get", fault: { delayMs: 10, of: "reply" } }],
    });
    const answer = store.executions.get("1", CALL);
    partition.cut("both");
    await clock.advance(10);
    expect(await stateOf(answer)).toBe("pending");
  });

  it("passes watch on, and swallows its hints while replies are cut", async () => {
    const partition = new Partition();
    const { store, inner } = setUp({ partition });
    let hints = 0;
    const end = store.executions.watch?.("1".repeat(64), () => hints++);
    const acquired = await inner.executions.claim(claim("a"), CALL);
    if (acquired.status !== "acquired") throw new Error("not acquired");
    const release = () =>
      inner.executions.release({ id: "1".repeat(64), token: 1, nonce: "a", as: { mode: "forget" } }, CALL);
    await release();
    expect(hints).toBe(1);
    partition.cut("replies");
    await release();
    expect(hints).toBe(1);
    partition.heal();
    end?.();
    await release();
    expect(hints).toBe(1);
  });

  it("has watch and completeInTransaction only where the inner store has them", async () => {
    const { inner } = setUp();
    const { watch: _watch, ...bare } = inner.executions;
    expect("watch" in faultyStore({ ...inner, executions: bare }, {}).executions).toBe(false);
    const transactional = {
      ...inner,
      executions: { ...bare, completeInTransaction: () => ({ status: "lost" as const }) },
    };
    const wrapped = faultyStore(transactional, {});
    expect(wrapped.executions.completeInTransaction?.({} as never, {})).toEqual({ status: "lost" });
    expect("completeInTransaction" in faultyStore(inner, {}).executions).toBe(false);
  });

  it("counts calls by operation", async () => {
    const log = new CallLog();
    const { store } = setUp({ onCall: log.onCall });
    await store.executions.claim(claim("a"), CALL);
    await store.executions.get("1", CALL);
    await store.executions.get("2", CALL);
    expect(log.operations).toEqual(["executions.claim", "executions.get", "executions.get"]);
    expect([log.total, log.count("executions.get"), log.count("executions.renew")]).toEqual([3, 2, 0]);
    expect(log.calls[2]?.request).toBe("2");
    log.clear();
    expect(log.total).toBe(0);
  });

  it.each<[string, unknown]>([
    ["an unknown name", { fault: [] }],
    ["an unknown operation", { faults: [{ on: "executions.steal", fault: "lostReply" }] }],
    ["a call number of 0", { faults: [{ on: "executions.claim", nth: 0, fault: "lostReply" }] }],
    ["an unknown fault", { faults: [{ on: "executions.claim", fault: "lostreply" }] }],
    ["a delay of no time", { faults: [{ on: "executions.claim", fault: { delayMs: Number.NaN } }] }],
    ["rates above 1", { random: seededRandom(1), rates: { lostReply: 0.6, lostRequest: 0.6 } }],
    ["an unknown rate", { random: seededRandom(1), rates: { lost: 0.6 } }],
    ["rates without random", { rates: { lostReply: 0.5 } }],
  ])("refuses a plan with %s", (_what, plan) => {
    expect(() => faultyStore(memoryStore(), plan as FaultPlan)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTIONS" }),
    );
  });
});
