import { strict as assert } from "node:assert";
import { assertAbove } from "./assertions.ts";
import { type Bench, type Conditional, type ConformanceCases, failureOf, withHooks } from "./bench.ts";
import type { RecordDamage } from "./subject.ts";

const BYTES = Uint8Array.from({ length: 256 }, (_, byte) => byte);
const DURATION_MS = 600_000;

/** A ledger outlives the store object that made it, and is made once however many open it. */
export const migrationCases: ConformanceCases = {
  "is made once by 8 openings of an empty ledger at once": withHooks(["reopen"], async (bench) => {
    const benches = await Promise.all(Array.from({ length: 8 }, () => bench.reopen()));
    const answers = await Promise.all([bench, ...benches].map((each) => each.claim()));
    assert.equal(answers.filter(({ status }) => status === "acquired").length, 1);
    assert.equal(answers.filter(({ status }) => status === "running").length, 8);
  }),

  "shows what was written before, byte by byte, to a store object that is opened later": withHooks(
    ["reopen"],
    async (bench) => {
      const { holder } = await bench.hold();
      await bench.complete(holder, { kind: "error", bytes: BYTES });
      const running = await bench.hold({ id: bench.id("running") });
      await bench.step(running.holder, 0, "reserve", { kind: "value", bytes: BYTES });
      const before = [await bench.get(), await bench.get(running.holder.id)];
      await bench.store.close();
      const later = await bench.reopen();
      await later.assertUnchanged(before[0]);
      await later.assertUnchanged(before[1], running.holder.id);
      later.assertOutcome(await later.claim(), { kind: "error", bytes: BYTES }, "claim");
      await later.advance(later.leaseMs);
      const { claim } = await later.hold({ id: running.holder.id });
      assert.equal(claim.attempt, 2);
      later.assertOutcome(claim.steps[0], { kind: "value", bytes: BYTES }, "claim, of a step,");
    },
  ),

  "lets a holder go on with what it was granted before": withHooks(["reopen"], async (bench) => {
    const { holder } = await bench.hold();
    await bench.store.close();
    const later = await bench.reopen();
    assert.equal((await later.renew(holder)).status, "renewed");
    assert.equal((await later.complete(holder)).status, "committed");
  }),

  "goes on raising tokens, for records that are gone too": withHooks(["reopen"], async (bench) => {
    const tokens: number[] = [];
    let current: Bench = bench;
    for (let opening = 0; opening < 3; opening += 1) {
      const { claim, holder } = await current.hold();
      tokens.push(claim.token);
      await current.forget(holder);
      const next = await bench.reopen();
      await current.store.close();
      current = next;
    }
    tokens.push((await current.hold()).claim.token);
    assert.deepEqual(
      tokens,
      [...new Set(tokens)].sort((a, b) => a - b),
    );
  }),

  "goes on raising epochs, for leases that are gone too": withHooks(["reopen"], async (bench) => {
    const first = await acquire(bench);
    await bench.leases.release({ name: "leader", holder: "a", epoch: first }, bench.call);
    await bench.store.close();
    const later = await bench.reopen();
    assertAbove(await acquire(later), first, "the epoch after the ledger was opened again");
  }),

  "knows the leases that were held before": withHooks(["reopen"], async (bench) => {
    const epoch = await acquire(bench);
    await bench.store.close();
    const later = await bench.reopen();
    assert.equal((await later.leases.get("leader", later.call))?.epoch, epoch);
    const renewal = { name: "leader", holder: "a", epoch, durationMs: DURATION_MS };
    assert.equal((await later.leases.renew(renewal, later.call)).status, "renewed");
  }),

  "refuses a ledger of a newer version, and changes nothing in it": refused("newerFormat"),
  "refuses a ledger that was cut in the middle, and changes nothing in it": refused("truncated"),
};

async function acquire(bench: Bench): Promise<number> {
  const request = { name: "leader", holder: "a", nonce: bench.nonce(), durationMs: DURATION_MS };
  const answer = await bench.leases.acquire(request, bench.call);
  assert.ok(answer.status === "acquired", `the lease is ${answer.status}`);
  return answer.epoch;
}

/** Nothing is done to a ledger that can't be understood, by whoever opens it then. */
function refused(damage: RecordDamage): Conditional {
  return {
    unless: ({ hooks, damages }) => {
      if (!damages.ledger?.includes(damage)) return `capabilities.damages.ledger has no ${damage}`;
      return hooks.includes("reopen") ? undefined : "capabilities.hooks has no reopen";
    },
    holds: async (bench) => {
      const { holder } = await bench.hold();
      const damaged = await bench.corrupt({ part: "ledger" }, damage);
      const before = await damaged.raw();
      const later = await bench.reopen();
      for (const answer of [later.claim(), later.get(), later.complete(holder), acquire(later)]) {
        const { code } = await failureOf(answer);
        assert.ok(code === "STORE_MISCONFIGURED" || code === "RECORD_CORRUPT", `the ledger is ${code}`);
      }
      assert.deepEqual(await damaged.raw(), before, "the ledger is as it was");
    },
  };
}
