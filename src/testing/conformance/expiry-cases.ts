import { strict as assert } from "node:assert";
import type { AcquiredClaim } from "../../store.ts";
import { assertAbove, assertStatus } from "./assertions.ts";
import type { Bench, ConformanceCases } from "./bench.ts";

/** An expired record counts as absent, whether it was deleted or not. */
export const expiryCases: ConformanceCases = {
  "has a completed record at one moment before its retention ends": async (bench) => {
    const { holder } = await bench.hold();
    await bench.complete(holder);
    await bench.advanceAlmost(bench.retentionMs);
    assert.equal((await bench.claim()).status, "completed");
    assert.equal((await bench.get())?.status, "completed");
  },

  "has a completed record no more at the very end of its retention": async (bench) => {
    await expired(bench);
    assert.equal(await bench.get(), undefined);
    assert.deepEqual(await bench.executions.list({ limit: 10 }, bench.call), []);
    const { claim } = await bench.hold();
    assert.equal(claim.attempt, 1);
    assert.equal(claim.abandonedAt, undefined);
  },

  "has a record that nobody completed for its retention after the lease": async (bench) => {
    await bench.abandoned();
    await bench.advanceAlmost(bench.retentionMs);
    assert.equal((await bench.get())?.status, "abandoned");
  },

  "has a record that nobody completed no more at the very end of that": async (bench) => {
    await bench.abandoned();
    await bench.advance(bench.retentionMs);
    assert.equal(await bench.get(), undefined);
    const { claim } = await bench.hold();
    assert.equal(claim.attempt, 1);
    assert.equal(claim.abandonedAt, undefined);
  },

  "accepts another payload once the record has expired": async (bench) => {
    await expired(bench);
    const fingerprint = bench.fingerprint("other");
    await bench.hold({ fingerprint });
    assert.equal((await bench.get())?.fingerprint, fingerprint);
    assert.equal((await bench.claim()).status, "mismatch");
  },

  "grants one of 32 callers at once on an expired record": async (bench) => {
    await expired(bench);
    const answers = await Promise.all(Array.from({ length: 32 }, () => bench.claim()));
    const winners = answers.filter((answer): answer is AcquiredClaim => answer.status === "acquired");
    assert.deepEqual(
      winners.map(({ attempt }) => attempt),
      [1],
    );
  },

  "answers the former holder of an expired record that it is missing": async (bench) => {
    const holder = await expired(bench);
    assert.deepEqual(await bench.complete(holder), { status: "missing" });
    assert.deepEqual(await bench.renew(holder), { status: "missing" });
    assert.deepEqual(await bench.forget(holder), { status: "missing" });
    assert.deepEqual(await bench.step(holder, 0, "late"), { status: "missing" });
    assert.equal(await bench.get(), undefined);
  },

  "refuses the former holder once somebody has the record anew": async (bench) => {
    const holder = await expired(bench);
    await bench.hold();
    const before = await bench.get();
    assert.deepEqual(await bench.complete(holder), { status: "lost" });
    assert.deepEqual(await bench.forget(holder), { status: "lost" });
    await bench.assertUnchanged(before);
  },

  "keeps a record as long as the longest retention that options allow": async (bench) => {
    const longest = Number.MAX_SAFE_INTEGER;
    const { holder } = await bench.hold({ retentionMs: longest, leaseMs: bench.leaseMs });
    await bench.renew(holder, { retentionMs: longest });
    assert.equal((await bench.complete(holder, bench.outcome("paid"), longest)).status, "committed");
    await bench.advance(10 * 366 * bench.retentionMs);
    const answer = await bench.claim({ retentionMs: longest });
    assertStatus(answer, "completed", "claim");
    assertAbove(answer.expiresInMs, bench.retentionMs, "expiresInMs");
    await bench.executions.purge({ limit: 10 }, bench.call);
    assert.equal((await bench.get())?.status, "completed");
  },
};

async function expired(bench: Bench) {
  const { holder } = await bench.hold();
  await bench.complete(holder);
  await bench.advance(bench.retentionMs);
  return holder;
}
