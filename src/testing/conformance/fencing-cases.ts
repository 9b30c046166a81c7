import { strict as assert } from "node:assert";
import { assertAbove, assertStatus, assertWhole } from "./assertions.ts";
import type { Bench, ConformanceCases } from "./bench.ts";

/** Tokens rise for a record whatever happens to it, and only the highest one writes. */
export const fencingCases: ConformanceCases = {
  "raises the token with each takeover": async (bench) => {
    const first = await bench.abandoned();
    const second = await bench.abandoned();
    const third = await bench.hold();
    assertAbove(second.claim.token, first.claim.token, "the second token");
    assertAbove(third.claim.token, second.claim.token, "the third token");
    assert.equal(third.claim.attempt, 3);
  },

  "raises the token across a release": async (bench) => {
    const first = await bench.hold();
    await bench.forget(first.holder);
    const second = await bench.hold();
    assertAbove(second.claim.token, first.claim.token, "the second token");
    await bench.grantRetry(second.holder);
    const third = await bench.hold();
    assertAbove(third.claim.token, second.claim.token, "the third token");
  },

  "raises the token across the expiry of a completed record": async (bench) => {
    const first = await bench.hold();
    await bench.complete(first.holder);
    await bench.advance(bench.retentionMs);
    const second = await bench.hold();
    assertAbove(second.claim.token, first.claim.token, "the second token");
  },

  "raises the token across a purge": async (bench) => {
    const first = await bench.hold();
    await bench.complete(first.holder);
    await bench.advance(bench.retentionMs);
    await bench.executions.purge({ limit: 10 }, bench.call);
    const second = await bench.hold();
    assert.equal(second.claim.attempt, 1);
    assertAbove(second.claim.token, first.claim.token, "the second token");
  },

  "raises the token for the same nonce too, when its record was released in between": async (bench) => {
    const request = bench.request();
    const first = await bench.hold(request);
    await bench.forget(first.holder);
    const second = await bench.hold(request);
    assertAbove(second.claim.token, first.claim.token, "the second token");
  },

  "gives tokens that are positive safe integers": async (bench) => {
    const { claim } = await bench.hold();
    assertWhole(claim.token, 1, "the token");
  },

  "refuses the completion of a holder that was taken over": async (bench) => {
    const { stale } = await takenOver(bench);
    const before = await bench.get();
    assert.deepEqual(await bench.complete(stale, bench.outcome("stale")), { status: "lost" });
    await bench.assertUnchanged(before);
  },

  "refuses the release of a holder that was taken over, in every mode": async (bench) => {
    const { stale } = await takenOver(bench);
    const before = await bench.get();
    const { retentionMs, call } = bench;
    assert.deepEqual(await bench.forget(stale), { status: "lost" });
    assert.deepEqual(await bench.grantRetry(stale), { status: "lost" });
    const as = { mode: "abandon", attempt: 1, retentionMs } as const;
    assert.deepEqual(await bench.executions.release({ ...stale, as }, call), { status: "lost" });
    await bench.assertUnchanged(before);
  },

  "refuses the renewal of a holder that was taken over": async (bench) => {
    const { stale } = await takenOver(bench);
    await bench.advance(200_000);
    assert.deepEqual(await bench.renew(stale), { status: "lost" });
    const view = await bench.get();
    assertStatus(view, "running", "get");
    bench.assertMs(view.leaseRemainingMs, bench.leaseMs - 200_000);
  },

  "refuses the step of a holder that was taken over": async (bench) => {
    const { stale } = await takenOver(bench);
    assert.deepEqual(await bench.step(stale, 0, "stale"), { status: "lost" });
    await bench.advance(bench.leaseMs);
    const { claim } = await bench.hold();
    assert.deepEqual([...claim.steps], []);
  },

  "answers a stale completion and release with the outcome that stands": async (bench) => {
    const { stale, winner } = await takenOver(bench);
    const outcome = bench.outcome("the winner's");
    await bench.complete(winner, outcome);
    const completed = await bench.complete(stale, bench.outcome("stale"));
    assert.equal(completed.status, "finalized");
    assert.equal(bench.assertOutcome(completed, outcome, "complete").attempt, 2);
    const released = await bench.forget(stale);
    assert.equal(released.status, "finalized");
    bench.assertOutcome(released, outcome, "release");
    assert.deepEqual(await bench.renew(stale), { status: "lost" });
    bench.assertOutcome(await bench.claim(), outcome, "claim");
  },

  "tells a stale holder that the record is gone once the winner has released it": async (bench) => {
    const { stale, winner } = await takenOver(bench);
    await bench.forget(winner);
    assert.deepEqual(await bench.complete(stale), { status: "missing" });
    assert.deepEqual(await bench.renew(stale), { status: "missing" });
    assert.deepEqual(await bench.step(stale, 0, "stale"), { status: "missing" });
    assert.deepEqual(await bench.forget(stale), { status: "missing" });
    assert.equal(await bench.get(), undefined);
  },

  "holds nothing for a right token under another nonce": async (bench) => {
    const { holder } = await bench.hold();
    await refusesAll(bench, { ...holder, nonce: bench.nonce() });
  },

  "holds nothing for a right nonce under another token": async (bench) => {
    const { holder } = await bench.hold();
    await refusesAll(bench, { ...holder, token: holder.token + 1 });
    await refusesAll(bench, { ...holder, token: holder.token - 1 });
  },

  "lets the holder of the highest token complete after its lease": async (bench) => {
    const { holder } = await bench.abandoned();
    const outcome = bench.outcome("late");
    const answer = await bench.complete(holder, outcome);
    assert.equal(answer.status, "committed");
    bench.assertOutcome(await bench.claim(), outcome, "claim");
  },

  "lets the holder of the highest token release and record steps after its lease": async (bench) => {
    const { holder } = await bench.abandoned();
    assert.deepEqual(await bench.step(holder, 0, "late"), { status: "recorded" });
    assert.deepEqual(await bench.forget(holder), { status: "released" });
    assert.equal(await bench.get(), undefined);
  },

  "keeps every outcome of 20 takeovers and stale completions in turn but the last": async (bench) => {
    const holders = [];
    for (let turn = 0; turn < 20; turn += 1) holders.push((await bench.abandoned()).holder);
    const answers = await Promise.all(holders.map((holder, turn) => bench.complete(holder, bench.outcome(`${turn}`))));
    assert.equal(answers.filter(({ status }) => status === "committed").length, 1);
    bench.assertOutcome(await bench.claim(), bench.outcome("19"), "claim");
  },
};

async function takenOver(bench: Bench) {
  const { holder: stale } = await bench.abandoned();
  const { holder: winner } = await bench.hold();
  return { stale, winner };
}

async function refusesAll(bench: Bench, holder: { id: string; token: number; nonce: string }): Promise<void> {
  const before = await bench.get();
  assert.deepEqual(await bench.complete(holder), { status: "lost" });
  assert.deepEqual(await bench.renew(holder), { status: "lost" });
  assert.deepEqual(await bench.forget(holder), { status: "lost" });
  assert.deepEqual(await bench.step(holder, 0, "stolen"), { status: "lost" });
  await bench.assertUnchanged(before);
}
