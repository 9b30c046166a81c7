import { strict as assert } from "node:assert";
import { systemClock } from "../../clock.ts";
import { type Bench, type ConformanceCases, failureOf, withHooks, within } from "./bench.ts";

const SHORT_MS = 100;
const LONGEST_SETTLEMENT_MS = 10_000;

/** {@link StoreCall.timeoutMs}: what the store did not begin in time, it does not begin. */
export const timeBoundCases: ConformanceCases = {
  "does not grant a claim that nobody waits for any more": withHooks(["stall"], async (bench) => {
    const request = bench.request();
    const { answer } = await late(bench, () => bench.executions.claim(request, { timeoutMs: SHORT_MS }));
    assert.equal((await failureOf(answer)).code, "STORE_UNAVAILABLE");
    assert.equal(await bench.get(), undefined);
    assert.equal((await bench.hold()).claim.attempt, 1);
  }),

  "does not commit an outcome that nobody waits for any more": withHooks(["stall"], async (bench) => {
    const { holder } = await bench.hold();
    const { retentionMs } = bench;
    const { answer } = await late(bench, () => {
      const outcome = bench.outcome("late");
      return bench.executions.complete({ ...holder, outcome, retentionMs }, { timeoutMs: SHORT_MS });
    });
    assert.equal((await failureOf(answer)).code, "STORE_UNAVAILABLE");
    assert.equal((await bench.get())?.status, "running");
    bench.assertOutcome(await bench.complete(holder, bench.outcome("in time")), bench.outcome("in time"), "complete");
  }),

  "does not acquire a lease that nobody waits for any more": withHooks(["stall"], async (bench) => {
    const request = { name: "leader", holder: "a", nonce: bench.nonce(), durationMs: 600_000 };
    const { answer } = await late(bench, () => bench.leases.acquire(request, { timeoutMs: SHORT_MS }));
    assert.equal((await failureOf(answer)).code, "STORE_UNAVAILABLE");
    assert.equal(await bench.leases.get("leader", bench.call), undefined);
  }),

  "carries out what still has time once the engine goes on": withHooks(["stall"], async (bench) => {
    const { answer } = await late(bench, () => bench.claim());
    assert.equal((await answer).status, "acquired");
    assert.equal((await bench.get())?.status, "running");
  }),
};

/** A call that is made while the engine does nothing, and whose short time passes meanwhile. */
async function late<T>(bench: Bench, make: () => Promise<T>): Promise<{ readonly answer: Promise<T> }> {
  // Whatever the store does once, at its first use, is done.
  await bench.get(bench.id("warm-up"));
  const letGo = await bench.stall();
  const answer = make();
  answer.catch(() => {});
  await pass(bench, 2 * SHORT_MS);
  await letGo();
  await pass(bench, SHORT_MS);
  return { answer: within(LONGEST_SETTLEMENT_MS, answer, "The call is settled") };
}

/** A store has timers by its own clock, by the machine's, or both. */
async function pass(bench: Bench, ms: number): Promise<void> {
  await systemClock.sleep(ms);
  if (bench.capabilities.exactTime) await bench.advance(ms);
}
