import { strict as assert } from "node:assert";
import { assertAbove, assertAtLeast, assertAtMost, assertStatus } from "./assertions.ts";
import type { Bench, ConformanceCases } from "./bench.ts";

/** {@link ExecutionStore.release}: the claim is given up without an outcome. */
export const releaseCases: ConformanceCases = {
  "forgets the record, and with it its fingerprint, its steps and its attempts": async (bench) => {
    const { holder } = await bench.hold();
    await bench.step(holder, 0, "reserve");
    assert.deepEqual(await bench.forget(holder), { status: "released" });
    assert.equal(await bench.get(), undefined);
    const { claim } = await bench.hold({ fingerprint: bench.fingerprint("other") });
    assert.equal(claim.attempt, 1);
    assert.equal(claim.abandonedAt, undefined);
    assert.deepEqual([...claim.steps], []);
  },

  "does nothing to the next holder when it arrives twice": async (bench) => {
    const { holder } = await bench.hold();
    await bench.forget(holder);
    const { status } = await bench.forget(holder);
    assert.ok(status === "released" || status === "missing", `release, repeated, answers "${status}"`);
    const next = await bench.hold();
    assert.deepEqual(await bench.forget(holder), { status: "lost" });
    assert.equal((await bench.get())?.token, next.claim.token);
  },

  "grants a retry to the next caller, whatever that does with abandoned records": async (bench) => {
    const first = await bench.hold();
    await bench.step(first.holder, 0, "reserve");
    assert.deepEqual(await bench.grantRetry(first.holder), { status: "released" });
    const view = await bench.get();
    assertStatus(view, "abandoned", "get");
    assert.equal(view.retryGranted, true);
    const { claim } = await bench.hold({ onAbandoned: "report" });
    assert.equal(claim.attempt, 2);
    assert.equal(claim.abandonedAt, undefined);
    assertAbove(claim.token, first.claim.token, "the token of the next attempt");
    assert.deepEqual(
      claim.steps.map(({ name }) => name),
      ["reserve"],
    );
  },

  "grants a retry to one of 16 callers at once": async (bench) => {
    const { holder } = await bench.hold();
    await bench.grantRetry(holder);
    const answers = await Promise.all(Array.from({ length: 16 }, () => bench.claim({ onAbandoned: "report" })));
    assert.equal(answers.filter(({ status }) => status === "acquired").length, 1);
  },

  "puts a record back as abandoned, as the attempt and since the moment that it is told": async (bench) => {
    await bench.abandoned();
    const { claim, holder } = await bench.hold();
    const leaseExpiredAt = claim.abandonedAt as number;
    await bench.advance(1_000);
    assert.deepEqual(await abandon(bench, holder, { attempt: 1, leaseExpiredAt }), { status: "released" });
    const reported = await bench.claim({ onAbandoned: "report" });
    assertStatus(reported, "abandoned", "claim");
    assert.equal(reported.attempt, 1);
    assert.equal(reported.leaseExpiredAt, leaseExpiredAt);
    const again = await bench.hold();
    assert.equal(again.claim.attempt, 2);
    assert.equal(again.claim.abandonedAt, leaseExpiredAt);
    assertAbove(again.claim.token, claim.token, "the token of the next attempt");
  },

  "puts a record back as abandoned since now where it is told no moment": async (bench) => {
    const { holder } = await bench.hold();
    await bench.step(holder, 0, "reserve");
    await bench.advance(2_000);
    await abandon(bench, holder, { attempt: 1 });
    const view = await bench.get();
    assertStatus(view, "abandoned", "get");
    assert.equal(view.retryGranted, false);
    const sinceCreation = view.leaseExpiredAt - view.createdAt;
    assertAtLeast(sinceCreation, 2_000, "the span from createdAt to leaseExpiredAt");
    assertAtMost(sinceCreation, 62_000, "the span from createdAt to leaseExpiredAt");
    const { claim } = await bench.hold();
    assert.deepEqual(
      claim.steps.map(({ name }) => name),
      ["reserve"],
    );
  },

  "counts the retention of a record that it puts back from the moment that it is told": async (bench) => {
    await bench.abandoned();
    const { claim, holder } = await bench.hold();
    await bench.advance(200_000);
    await abandon(bench, holder, { attempt: 1, leaseExpiredAt: claim.abandonedAt as number });
    bench.assertMs((await bench.get())?.expiresInMs ?? 0, bench.retentionMs - 200_000);
  },

  "grants a retry as the attempt that it is told": async (bench) => {
    await bench.abandoned();
    const { holder } = await bench.hold();
    await bench.grantRetry(holder);
    assert.equal((await bench.get())?.attempt, 1);
    assert.equal((await bench.hold()).claim.attempt, 2);
  },

  "is answered alike when a retry or an abandonment arrives twice": async (bench) => {
    const { holder } = await bench.hold();
    await bench.grantRetry(holder);
    const before = await bench.get();
    assert.deepEqual(await bench.grantRetry(holder), { status: "released" });
    await bench.assertUnchanged(before);
    const next = await bench.hold();
    await abandon(bench, next.holder, { attempt: 2 });
    assert.deepEqual(await abandon(bench, next.holder, { attempt: 2 }), { status: "released" });
    assert.equal((await bench.claim({ onAbandoned: "report" })).status, "abandoned");
  },

  "changes nothing for a former holder once the record has another": async (bench) => {
    const first = await bench.hold();
    await bench.grantRetry(first.holder);
    await bench.hold();
    const before = await bench.get();
    assert.deepEqual(await bench.grantRetry(first.holder), { status: "lost" });
    assert.deepEqual(await abandon(bench, first.holder, { attempt: 1 }), { status: "lost" });
    await bench.assertUnchanged(before);
  },

  "keeps a record that was given up for its retention, and no longer": async (bench) => {
    const { holder } = await bench.hold();
    await bench.grantRetry(holder, 100_000);
    const view = await bench.get();
    bench.assertMs(view?.expiresInMs ?? 0, 100_000);
    await bench.advance(100_000);
    assert.equal(await bench.get(), undefined);
    assert.equal((await bench.hold()).claim.attempt, 1);
  },

  "takes everything from who gave the record up": async (bench) => {
    const { holder } = await bench.hold();
    await abandon(bench, holder, { attempt: 1 });
    const before = await bench.get();
    assert.deepEqual(await bench.complete(holder), { status: "lost" });
    assert.deepEqual(await bench.renew(holder), { status: "lost" });
    assert.deepEqual(await bench.step(holder, 0, "late"), { status: "lost" });
    await bench.assertUnchanged(before);
  },

  "is missing for a record that is not there": async (bench) => {
    const { holder } = await bench.hold();
    const id = bench.id("never claimed");
    assert.deepEqual(await bench.forget({ ...holder, id }), { status: "missing" });
    assert.deepEqual(await bench.grantRetry({ ...holder, id }), { status: "missing" });
    assert.equal(await bench.get(id), undefined);
  },
};

function abandon(
  bench: Bench,
  holder: { id: string; token: number; nonce: string },
  as: { attempt: number; leaseExpiredAt?: number },
) {
  const { retentionMs } = bench;
  return bench.executions.release({ ...holder, as: { mode: "abandon", retentionMs, ...as } }, bench.call);
}
