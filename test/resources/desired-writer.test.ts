import type { FaultPlan, ManualClock } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import type { ResourceLedger } from "../../src/resources/resource-ledger.ts";
import type { SetDesiredResult } from "../../src/store.ts";
import { GROUP, setUp, thrownBy } from "./ledger-set-up.ts";

const SET = "resources.setDesired";
/** Longer than a call waits for the store. */
const LATE_MS = 20_000;

/** The generation, and how many resources it wants. */
async function wanted(ledger: ResourceLedger): Promise<[number, number]> {
  const { generation, resources } = await ledger.desired();
  return [generation, resources.length];
}

/** The requests from the `nth` on, and the one that repeats it, arrive after the call has failed. */
function late(...nths: number[]): FaultPlan {
  return {
    faults: nths
      .flatMap((nth) => [nth, nth + 1])
      .map((nth) => ({ on: SET, nth, fault: { delayMs: LATE_MS } }) as const),
  };
}

async function failing(clock: ManualClock, call: Promise<unknown>): Promise<unknown> {
  const thrown = thrownBy(call);
  await clock.advance(5_000);
  return thrown;
}

describe("what was desired before", () => {
  it("is not brought back by a copy of its request that arrives later", async () => {
    const { ledger, clock } = setUp({ faults: [{ on: SET, nth: 1, fault: { duplicateAfterMs: 1_000 } }] });
    const workers = ledger();
    await workers.setDesired(10);
    await workers.setDesired(5);
    await clock.advance(1_000);
    expect(await wanted(workers)).toEqual([2, 5]);
  });

  it("is not brought back by a slow request that was overtaken by its own repetition", async () => {
    const { ledger, clock } = setUp({ faults: [{ on: SET, nth: 1, fault: { delayMs: 3_000 } }] });
    const workers = ledger();
    const slow = workers.setDesired(10);
    await clock.advance(2_500);
    expect(await slow).toEqual({ generation: 1 });
    expect(await workers.setDesired(0)).toEqual({ generation: 2 });
    await clock.advance(500);
    expect(await wanted(workers)).toEqual([2, 0]);
  });

  it("is not brought back over what another process has set since", async () => {
    const { ledger, clock } = setUp({ faults: [{ on: SET, nth: 1, fault: { duplicateAfterMs: 1_000 } }] });
    await ledger().setDesired(10);
    await ledger().setDesired(5);
    await clock.advance(1_000);
    expect(await wanted(ledger())).toEqual([2, 5]);
  });

  it.each([
    ["a number", 5],
    ["nothing", []],
    ["a list", [{ id: "a" }, { id: "b", spec: { size: 1 } }]],
  ])("is not left for what a failed call asked for, once it was said again (%s)", async (_what, before) => {
    const { ledger, clock, inner } = setUp(late(2));
    const workers = ledger();
    await workers.setDesired(before);
    const said = await workers.desired();
    const text = (await inner.resources.getDesired(GROUP, { timeoutMs: 1_000 })).desired;
    expect(await failing(clock, workers.setDesired(10))).toMatchObject({ code: "STORE_UNAVAILABLE" });
    const { generation } = await workers.setDesired(before);
    await clock.advance(LATE_MS);
    expect(await workers.desired()).toEqual({ ...said, generation });
    expect(await inner.resources.getDesired(GROUP, { timeoutMs: 1_000 })).toMatchObject({ desired: text });
    // From now on it is the same generation again.
    expect(await workers.setDesired(before)).toEqual({ generation });
  });

  it("is not left for any of several that failed", async () => {
    const { ledger, clock } = setUp(late(2, 4));
    const workers = ledger();
    await workers.setDesired(5);
    await failing(clock, workers.setDesired(10));
    await failing(clock, workers.setDesired(5));
    await workers.setDesired(5);
    await clock.advance(LATE_MS);
    expect((await wanted(workers))[1]).toBe(5);
  });

  it("is not left for what a failed call asked for, once an update has left it as it is", async () => {
    const { ledger, clock } = setUp(late(2));
    const workers = ledger();
    await workers.setDesired(5);
    await failing(clock, workers.setDesired(10));
    await workers.updateDesired((desired) => desired.length);
    await clock.advance(LATE_MS);
    expect((await wanted(workers))[1]).toBe(5);
  });

  it("is no new generation where the call that failed asked for the same", async () => {
    const { ledger, clock } = setUp(late(2));
    const workers = ledger();
    await workers.setDesired(5);
    await failing(clock, workers.setDesired(5));
    expect(await workers.setDesired(5)).toEqual({ generation: 1 });
    await clock.advance(LATE_MS);
    expect(await wanted(workers)).toEqual([1, 5]);
  });
});

describe("setDesired", () => {
  it("is one round trip where nobody else sets it, and one more after each that somebody did", async () => {
    const { ledger, log } = setUp();
    const [one, other] = [ledger(), ledger()];
    const cost = async (call: () => Promise<unknown>): Promise<number> => {
      const before = log.total;
      await call();
      return log.total - before;
    };
    expect(await cost(() => one.setDesired(1))).toBe(1);
    expect(await cost(() => one.setDesired(2))).toBe(1);
    expect(await cost(() => one.setDesired(2))).toBe(1);
    expect(await cost(() => other.setDesired(3))).toBe(2);
    expect(await cost(() => other.setDesired(4))).toBe(1);
    expect(await cost(() => one.setDesired(5))).toBe(2);
    await one.updateDesired((desired) => desired.length + 1);
    expect(await cost(() => one.setDesired(7))).toBe(1);
  });

  it("gets through in each of 10 processes that say something else again and again", async () => {
    const { ledger, log } = setUp();
    const generations: number[] = [];
    await Promise.all(
      Array.from({ length: 10 }, async (_, process) => {
        const workers = ledger();
        for (let call = 0; call < 20; call += 1) {
          generations.push((await workers.setDesired(process * 100 + call)).generation);
        }
      }),
    );
    expect(generations.sort((a, b) => a - b)).toEqual(Array.from({ length: 200 }, (_, index) => index + 1));
    // Each loses to at most the nine others before it is its turn.
    expect(log.count(SET)).toBeLessThanOrEqual(2_000);
  });

  it("is set by the process that another one overtook when its reply was lost", async () => {
    let calls = 0;
    const { ledger, clock } = setUp({}, (inner) => ({
      async setDesired(request, call) {
        calls += 1;
        const answer = await inner.setDesired(request, call);
        if (calls > 1) return answer;
        await inner.setDesired({ group: GROUP, epoch: 0, nonce: "another's", desired: '{"count":7}' }, call);
        throw new Error("the connection was lost");
      },
    }));
    const set = ledger().setDesired(5);
    await clock.advance(100);
    expect(await set).toEqual({ generation: 3 });
    expect(await wanted(ledger())).toEqual([3, 5]);
  });

  it("gives up when others are always faster, and has set nothing then", async () => {
    let generation = 0;
    const { ledger, log } = setUp({}, () => ({
      async setDesired(): Promise<SetDesiredResult> {
        generation += 1;
        return { status: "conflict", generation };
      },
    }));
    const error = await thrownBy(ledger().setDesired(5));
    expect(error).toMatchObject({ code: "STORE_UNAVAILABLE", retryable: true });
    expect(error).not.toHaveProperty("cause");
    expect(log.count(SET)).toBe(1_000);
  });

  it("takes no longer than one operation may, however many tries that is", async () => {
    const { ledger, clock } = setUp({}, () => ({
      async setDesired(): Promise<SetDesiredResult> {
        await clock.sleep(100);
        return { status: "conflict", generation: clock.monotonic() };
      },
    }));
    const thrown = thrownBy(ledger({ storeTimeoutMs: 1_000 }).setDesired(5));
    await clock.advance(1_000);
    expect(await thrown).toMatchObject({ code: "STORE_UNAVAILABLE" });
    await clock.advance(100);
  });
});
