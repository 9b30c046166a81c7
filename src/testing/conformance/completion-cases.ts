import { strict as assert } from "node:assert";
import type { OutcomeKind } from "../../store.ts";
import { assertAtLeast, assertStatus } from "./assertions.ts";
import type { ConformanceCases } from "./bench.ts";

/** {@link ExecutionStore.complete}: one outcome, and that one for good. */
export const completionCases: ConformanceCases = {
  "commits the outcome and says when": async (bench) => {
    const outcome = bench.outcome("paid");
    const { holder } = await bench.hold();
    await bench.advance(1_000);
    const answer = await bench.complete(holder, outcome);
    assertStatus(answer, "committed", "complete");
    bench.assertOutcome(answer, outcome, "complete");
    assert.equal(answer.attempt, 1);
    bench.assertMs(answer.expiresInMs, bench.retentionMs);
    const view = await bench.get();
    assertStatus(view, "completed", "get");
    bench.assertOutcome(view, outcome, "get");
    assert.equal(view.completedAt, answer.completedAt);
    assertAtLeast(view.completedAt, view.createdAt + 1_000, "completedAt, a second after createdAt,");
  },

  "answers a repeated completion like the first": async (bench) => {
    const outcome = bench.outcome("paid");
    const { holder } = await bench.hold();
    const first = await bench.complete(holder, outcome);
    await bench.advance(5_000);
    const second = await bench.complete(holder, outcome);
    assertStatus(first, "committed", "complete");
    assertStatus(second, "committed", "complete");
    bench.assertOutcome(second, outcome, "complete");
    assert.equal(second.completedAt, first.completedAt);
    bench.assertMs(second.expiresInMs, bench.retentionMs - 5_000);
  },

  "says whose payload the outcome is of, to everybody": async (bench) => {
    const { fingerprint, ...bare } = bench.request();
    const { holder: stale } = await bench.abandoned();
    const { holder } = await bench.hold();
    const answers = {
      complete: await bench.complete(holder),
      "complete, repeated,": await bench.complete(holder),
      release: await bench.forget(holder),
      "complete for a stale holder": await bench.complete(stale),
      "release for a stale holder": await bench.forget(stale),
      claim: await bench.executions.claim(bare, bench.call),
    };
    for (const [call, answer] of Object.entries(answers)) {
      const seen = bench.assertOutcome(answer, bench.outcome("done"), call).fingerprint;
      assert.equal(seen, fingerprint, `${call} answers the fingerprint of the claim`);
    }
  },

  "keeps the first outcome when the same holder completes with another": async (bench) => {
    const first = bench.outcome("first");
    const { holder } = await bench.hold();
    await bench.complete(holder, first);
    const answer = await bench.complete(holder, bench.outcome("second", "error"));
    assert.equal(answer.status, "committed");
    bench.assertOutcome(answer, first, "complete");
    bench.assertOutcome(await bench.claim(), first, "claim");
  },

  "commits one of two outcomes that come at once": async (bench) => {
    const { holder } = await bench.hold();
    const answers = await Promise.all([
      bench.complete(holder, bench.outcome("a")),
      bench.complete(holder, bench.outcome("b")),
    ]);
    const stands = await bench.claim();
    assertStatus(stands, "completed", "claim");
    for (const answer of answers) bench.assertOutcome(answer, stands.outcome, "complete");
  },

  "keeps what kind of outcome it is": async (bench) => {
    const kinds: readonly OutcomeKind[] = ["value", "error", "tombstone"];
    for (const kind of kinds) {
      const { holder } = await bench.hold({ id: bench.id(kind) });
      await bench.complete(holder, bench.outcome(kind, kind));
      bench.assertOutcome(await bench.claim({ id: bench.id(kind) }), bench.outcome(kind, kind), "claim");
    }
  },

  "counts the retention from the completion": async (bench) => {
    const { holder } = await bench.hold({ retentionMs: bench.retentionMs });
    await bench.advance(bench.leaseMs / 2);
    await bench.complete(holder, bench.outcome("paid"), 2 * bench.retentionMs);
    await bench.advanceAlmost(2 * bench.retentionMs);
    assert.equal((await bench.claim()).status, "completed");
  },

  "is not changed by what the caller does to the bytes afterwards": async (bench) => {
    const outcome = bench.outcome("paid");
    const { holder } = await bench.hold();
    const completed = bench.complete(holder, outcome);
    outcome.bytes.fill(0);
    const answer = await completed;
    outcome.bytes.fill(1);
    bench.assertOutcome(answer, bench.outcome("paid"), "complete");
    bench.assertOutcome(await bench.claim(), bench.outcome("paid"), "claim");
  },

  "is not changed by what readers do to their bytes": async (bench) => {
    const expected = bench.outcome("paid");
    const { holder } = await bench.hold();
    const committed = await bench.complete(holder, bench.outcome("paid"));
    const [listed] = await bench.executions.list({ limit: 1 }, bench.call);
    const answers = {
      complete: committed,
      claim: await bench.claim(),
      get: await bench.get(),
      "complete, repeated,": await bench.complete(holder),
      list: listed,
    };
    for (const [call, answer] of Object.entries(answers)) {
      bench.assertOutcome(answer, expected, call).outcome.bytes.fill(0);
    }
    bench.assertOutcome(await bench.claim(), expected, "claim");
    bench.assertOutcome(await bench.get(), expected, "get");
  },

  "is not undone by any later call of its holder": async (bench) => {
    const outcome = bench.outcome("paid");
    const { holder } = await bench.hold();
    await bench.complete(holder, outcome);
    const before = await bench.get();
    bench.assertOutcome(await bench.forget(holder), outcome, "release");
    bench.assertOutcome(await bench.grantRetry(holder), outcome, "release");
    await bench.renew(holder);
    assert.deepEqual(await bench.step(holder, 0, "late"), { status: "finalized" });
    await bench.assertUnchanged(before);
  },

  "is missing for a record that is not there, and makes none": async (bench) => {
    const { holder } = await bench.hold();
    await bench.forget(holder);
    assert.deepEqual(await bench.complete(holder), { status: "missing" });
    assert.equal(await bench.get(), undefined);
  },

  "is lost for a holder that gave the record up": async (bench) => {
    const { holder } = await bench.hold();
    await bench.grantRetry(holder);
    assert.deepEqual(await bench.complete(holder), { status: "lost" });
    assert.equal((await bench.get())?.status, "abandoned");
  },
};
