import { strict as assert } from "node:assert";
import type { Holder } from "../../store.ts";
import { assertAbove, assertStatus, assertThere } from "./assertions.ts";
import type { Bench, ConformanceCases } from "./bench.ts";

/** {@link ExecutionStore.seize}: an operator takes a record away from whoever holds it. */
export const seizeCases: ConformanceCases = {
  "gives a running record to whoever seizes it, as the attempt that it is": async (bench) => {
    const { claim } = await bench.hold();
    const before = await bench.get();
    assertThere(before, "the record");
    await bench.advance(1_000);
    const { answer } = await bench.seize(claim.token, { leaseMs: 2 * bench.leaseMs, retentionMs: 5_000_000 });
    assertAbove(answer.token, claim.token, "the token of the seizure");
    assert.equal(answer.attempt, 1);
    bench.assertMs(answer.leaseRemainingMs, 2 * bench.leaseMs);
    const view = await bench.get();
    assertStatus(view, "running", "get");
    bench.assertMs(view.leaseRemainingMs, 2 * bench.leaseMs);
    bench.assertMs(view.expiresInMs, 2 * bench.leaseMs + 5_000_000);
    const { leaseRemainingMs: _lease, expiresInMs: _expires, ...seen } = view;
    const { leaseRemainingMs: _before, expiresInMs: _then, ...was } = { leaseRemainingMs: 0, ...before };
    assert.deepEqual(seen, { ...was, token: answer.token });
  },

  "makes the holder of before stale, whatever that does": async (bench) => {
    const { holder } = await bench.hold();
    const seized = await bench.seize(holder.token);
    assert.deepEqual(await bench.renew(holder), { status: "lost" });
    assert.deepEqual(await bench.step(holder, 0, "late"), { status: "lost" });
    assert.deepEqual(await bench.complete(holder), { status: "lost" });
    assert.deepEqual(await bench.grantRetry(holder), { status: "lost" });
    assert.deepEqual(await bench.forget(holder), { status: "lost" });
    assert.equal((await bench.renew(seized.holder)).status, "renewed");
  },

  "lets the new holder complete, for everybody who asks": async (bench) => {
    const { holder } = await bench.hold();
    const seized = await bench.seize(holder.token);
    assert.equal((await bench.complete(seized.holder, bench.outcome("by hand"))).status, "committed");
    const answer = await bench.claim();
    assertStatus(answer, "completed", "claim");
    bench.assertOutcome(answer, bench.outcome("by hand"), "claim");
    const late = await bench.complete(holder);
    assertStatus(late, "finalized", "complete");
    bench.assertOutcome(late, bench.outcome("by hand"), "complete");
  },

  "lets the new holder forget the record": async (bench) => {
    const { holder } = await bench.hold();
    const seized = await bench.seize(holder.token);
    assert.deepEqual(await bench.forget(seized.holder), { status: "released" });
    assert.equal(await bench.get(), undefined);
    assert.equal((await bench.hold({ fingerprint: bench.fingerprint("other") })).claim.attempt, 1);
  },

  "lets the new holder give it to the next caller, with its steps": async (bench) => {
    const { holder } = await bench.hold();
    await bench.step(holder, 0, "reserve");
    const seized = await bench.seize(holder.token);
    assert.deepEqual(await bench.grantRetry(seized.holder), { status: "released" });
    const next = await bench.hold({ onAbandoned: "report" });
    assert.equal(next.claim.attempt, 2);
    assert.deepEqual(namesOf(next.claim.steps), ["reserve"]);
    assertAbove(next.claim.token, seized.answer.token, "the token of the next attempt");
  },

  "lets the new holder put it back as abandoned": async (bench) => {
    const { holder } = await bench.hold();
    await bench.step(holder, 0, "reserve");
    const seized = await bench.seize(holder.token);
    await abandon(bench, seized.holder);
    const reported = await bench.claim({ onAbandoned: "report" });
    assertStatus(reported, "abandoned", "claim");
    assert.equal(reported.attempt, 1);
    assert.deepEqual(namesOf(reported.steps), ["reserve"]);
  },

  "keeps the steps for as long as the record": async (bench) => {
    const { holder } = await bench.hold({ retentionMs: 1_000 });
    await bench.step(holder, 0, "reserve");
    await bench.seize(holder.token);
    await bench.advance(bench.leaseMs + 1_000);
    assert.deepEqual(namesOf((await bench.hold()).claim.steps), ["reserve"]);
  },

  "seizes a record whose holder fell silent": async (bench) => {
    const { holder } = await bench.abandoned();
    const { answer } = await bench.seize(holder.token);
    assert.equal(answer.attempt, 1);
    assert.equal((await bench.claim()).status, "running");
    assert.deepEqual(await bench.complete(holder), { status: "lost" });
  },

  "seizes a record that its holder put back as abandoned": async (bench) => {
    const { holder } = await bench.hold();
    await abandon(bench, holder);
    await bench.seize(holder.token);
    assert.equal((await bench.claim()).status, "running");
    // The release, arriving twice, must not undo the seizure.
    await abandon(bench, holder, "lost");
  },

  "takes back a retry that was granted": async (bench) => {
    const { holder } = await bench.hold();
    await bench.grantRetry(holder);
    await bench.seize(holder.token);
    await bench.advance(bench.leaseMs);
    const view = await bench.get();
    assertStatus(view, "abandoned", "get");
    assert.equal(view.retryGranted, false);
    assert.equal((await bench.claim({ onAbandoned: "report" })).status, "abandoned");
  },

  "keeps others out of the record while it is seized": async (bench) => {
    const { holder } = await bench.abandoned();
    await bench.seize(holder.token);
    await bench.advanceAlmost(bench.leaseMs);
    const answer = await bench.claim();
    assertStatus(answer, "running", "claim");
    assert.equal(answer.attempt, 1);
  },

  "lets the next caller take over when the operator falls silent too": async (bench) => {
    const { holder } = await bench.hold();
    await bench.step(holder, 0, "reserve");
    const seized = await bench.seize(holder.token);
    await bench.advance(bench.leaseMs);
    const { claim } = await bench.hold();
    assert.equal(claim.attempt, 2);
    assert.deepEqual(namesOf(claim.steps), ["reserve"]);
    assertAbove(claim.token, seized.answer.token, "the token of the next attempt");
    assertThere(claim.abandonedAt, "when the lease of the seizure lapsed");
    assert.deepEqual(await bench.complete(seized.holder), { status: "lost" });
  },

  "seizes no other grant than the one that was seen": async (bench) => {
    const first = await bench.abandoned();
    const second = await bench.hold();
    const before = await bench.get();
    assert.deepEqual(await seizing(bench, first.holder.token), { status: "changed" });
    assert.deepEqual(await seizing(bench, second.holder.token + 1), { status: "changed" });
    await bench.assertUnchanged(before);
    assert.equal((await bench.renew(second.holder)).status, "renewed");
  },

  "gives the record to one of 16 that seize it at once": async (bench) => {
    const { holder } = await bench.hold();
    const answers = await Promise.all(Array.from({ length: 16 }, () => seizing(bench, holder.token)));
    assert.equal(answers.filter(({ status }) => status === "seized").length, 1);
    assert.equal(answers.filter(({ status }) => status === "changed").length, 15);
  },

  "answers the same nonce like the first time, and changes nothing": async (bench) => {
    const { holder } = await bench.hold();
    const { answer, request } = await bench.seize(holder.token);
    await bench.advance(1_000);
    const before = await bench.get();
    const again = await bench.executions.seize(request, bench.call);
    assertStatus(again, "seized", "seize, under the same nonce,");
    assert.deepEqual([again.token, again.attempt], [answer.token, 1]);
    bench.assertMs(again.leaseRemainingMs, bench.leaseMs - 1_000);
    await bench.assertUnchanged(before);
  },

  "lets the same nonce have a new lease under its token once the first has lapsed": async (bench) => {
    const { holder } = await bench.hold();
    const { answer, request } = await bench.seize(holder.token);
    await bench.advance(bench.leaseMs);
    const again = await bench.executions.seize(request, bench.call);
    assertStatus(again, "seized", "seize, under the same nonce,");
    assert.equal(again.token, answer.token);
    bench.assertMs(again.leaseRemainingMs, bench.leaseMs);
    const view = await bench.get();
    assertStatus(view, "running", "get");
    bench.assertMs(view.expiresInMs, bench.leaseMs + bench.retentionMs);
  },

  "does not know a nonce again after somebody took over": async (bench) => {
    const { holder } = await bench.hold();
    const { request } = await bench.seize(holder.token);
    await bench.advance(bench.leaseMs);
    const next = await bench.hold();
    assert.deepEqual(await bench.executions.seize(request, bench.call), { status: "changed" });
    assert.equal((await bench.renew(next.holder)).status, "renewed");
  },

  "answers a completed record with its outcome, and leaves it": async (bench) => {
    const { holder } = await bench.hold();
    await bench.complete(holder, bench.outcome("done"));
    const before = await bench.get();
    const answer = await seizing(bench, holder.token);
    assertStatus(answer, "completed", "seize");
    const { fingerprint, attempt, expiresInMs } = bench.assertOutcome(answer, bench.outcome("done"), "seize");
    assert.deepEqual([fingerprint, attempt], [bench.fingerprint("payload"), 1]);
    bench.assertMs(expiresInMs, bench.retentionMs);
    await bench.assertUnchanged(before);
  },

  "misses a record that is not there, was forgotten, or has expired": async (bench) => {
    assert.deepEqual(await seizing(bench, 1), { status: "missing" });
    const { holder } = await bench.hold();
    await bench.forget(holder);
    assert.deepEqual(await seizing(bench, holder.token), { status: "missing" });
    const expired = await bench.hold({ leaseMs: 1_000, retentionMs: 1_000 });
    await bench.advance(2_000);
    assert.deepEqual(await seizing(bench, expired.holder.token), { status: "missing" });
    assert.equal(await bench.get(), undefined);
  },
};

function seizing(bench: Bench, token: number) {
  return bench.executions.seize(bench.seizure(token), bench.call);
}

async function abandon(bench: Bench, holder: Holder, answer: "released" | "lost" = "released"): Promise<void> {
  const as = { mode: "abandon", attempt: 1, retentionMs: bench.retentionMs } as const;
  assert.deepEqual(await bench.executions.release({ ...holder, as }, bench.call), { status: answer });
}

function namesOf(steps: readonly { readonly name: string }[]): string[] {
  return steps.map(({ name }) => name);
}
