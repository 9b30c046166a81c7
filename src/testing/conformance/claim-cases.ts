import { strict as assert } from "node:assert";
import type { AcquiredClaim } from "../../store.ts";
import { assertAbove, assertStatus } from "./assertions.ts";
import type { ConformanceCases } from "./bench.ts";

/** {@link ExecutionStore.claim}: who runs, decided in one step. */
export const claimCases: ConformanceCases = {
  "grants an absent record as attempt 1, with the whole lease and no steps": async (bench) => {
    const { claim } = await bench.hold();
    assert.equal(claim.attempt, 1);
    assert.equal(claim.abandonedAt, undefined);
    assert.deepEqual([...claim.steps], []);
    bench.assertMs(claim.leaseRemainingMs, bench.leaseMs);
  },

  "tells another caller that it runs, as which attempt, and what is left of the lease": async (bench) => {
    await bench.hold();
    await bench.advance(200_000);
    const answer = await bench.claim();
    assert.equal(answer.status, "running");
    assertStatus(answer, "running", "claim");
    assert.equal(answer.attempt, 1);
    bench.assertMs(answer.leaseRemainingMs, bench.leaseMs - 200_000);
  },

  "grants the same nonce again with the same token, on the lease that it has": async (bench) => {
    const request = bench.request();
    const first = await bench.hold(request);
    await bench.advance(200_000);
    const second = await bench.hold(request);
    assert.equal(second.claim.token, first.claim.token);
    assert.equal(second.claim.attempt, 1);
    bench.assertMs(second.claim.leaseRemainingMs, bench.leaseMs - 200_000);
  },

  "does not lengthen the lease of a nonce that asks again": async (bench) => {
    const request = bench.request();
    await bench.hold(request);
    await bench.advance(bench.leaseMs / 2);
    await bench.hold(request);
    await bench.advance(bench.leaseMs / 2);
    const { claim } = await bench.hold();
    assert.equal(claim.attempt, 2);
  },

  "grants the same nonce again after its lease, when nobody took over, under the same token": async (bench) => {
    const request = bench.request();
    const first = await bench.abandoned(request);
    const second = await bench.hold(request);
    assert.equal(second.claim.token, first.claim.token);
    assert.equal(second.claim.attempt, 1);
    bench.assertMs(second.claim.leaseRemainingMs, bench.leaseMs);
    assert.equal((await bench.claim()).status, "running");
  },

  "does not grant a nonce again whose record was taken over": async (bench) => {
    const request = bench.request();
    await bench.abandoned(request);
    await bench.hold();
    assert.equal((await bench.claim(request)).status, "running");
  },

  "grants one of 32 callers at once": async (bench) => {
    const answers = await Promise.all(Array.from({ length: 32 }, () => bench.claim()));
    const statuses = answers.map(({ status }) => status).sort();
    assert.deepEqual(statuses, ["acquired", ...Array.from({ length: 31 }, () => "running")]);
  },

  "grants 16 copies of one request at once the same claim": async (bench) => {
    const request = bench.request();
    const answers = await Promise.all(Array.from({ length: 16 }, () => bench.hold(request)));
    assert.equal(new Set(answers.map(({ claim }) => claim.token)).size, 1);
  },

  "grants different records at once, each on its own": async (bench) => {
    const ids = Array.from({ length: 16 }, (_, index) => bench.id(`record ${index}`));
    const answers = await Promise.all(ids.map((id) => bench.hold({ id })));
    assert.deepEqual(
      answers.map(({ claim }) => claim.attempt),
      ids.map(() => 1),
      "each record is claimed as its attempt 1",
    );
    await bench.complete((answers[0] as (typeof answers)[0]).holder);
    assert.equal((await bench.get(ids[1]))?.status, "running");
  },

  "answers a completed record with its outcome": async (bench) => {
    const outcome = bench.outcome("paid");
    const { holder } = await bench.hold();
    const committed = await bench.complete(holder, outcome);
    await bench.advance(1_000);
    const answer = await bench.claim();
    assertStatus(answer, "completed", "claim");
    assertStatus(committed, "committed", "complete");
    bench.assertOutcome(answer, outcome, "claim");
    assert.equal(answer.attempt, 1);
    assert.equal(answer.completedAt, committed.completedAt);
    bench.assertMs(answer.expiresInMs, bench.retentionMs - 1_000);
  },

  "answers the holder's own repeated claim with the outcome once it is completed": async (bench) => {
    const request = bench.request();
    const { holder } = await bench.hold(request);
    await bench.complete(holder);
    assert.equal((await bench.claim(request)).status, "completed");
  },

  "compares the fingerprint before it says that a record runs": async (bench) => {
    await bench.hold();
    const before = await bench.get();
    assert.deepEqual(await bench.claim({ fingerprint: bench.fingerprint("other") }), { status: "mismatch" });
    await bench.assertUnchanged(before);
  },

  "compares the fingerprint before it gives a completed outcome away": async (bench) => {
    const { holder } = await bench.hold();
    await bench.complete(holder);
    const before = await bench.get();
    assert.deepEqual(await bench.claim({ fingerprint: bench.fingerprint("other") }), { status: "mismatch" });
    await bench.assertUnchanged(before);
  },

  "compares the fingerprint before it takes over or reports a lapsed record": async (bench) => {
    await bench.abandoned();
    const before = await bench.get();
    const fingerprint = bench.fingerprint("other");
    assert.deepEqual(await bench.claim({ fingerprint, onAbandoned: "takeover" }), { status: "mismatch" });
    assert.deepEqual(await bench.claim({ fingerprint, onAbandoned: "report" }), { status: "mismatch" });
    await bench.assertUnchanged(before);
  },

  "compares the fingerprint before it hands over a record that was given up for a retry": async (bench) => {
    const { holder } = await bench.hold();
    await bench.grantRetry(holder);
    assert.deepEqual(await bench.claim({ fingerprint: bench.fingerprint("other") }), { status: "mismatch" });
  },

  "compares nothing where a side has no fingerprint": async (bench) => {
    const { fingerprint: _left, ...bare } = bench.request();
    const { holder } = await bench.hold();
    assert.equal((await bench.executions.claim(bare, bench.call)).status, "running");
    await bench.complete(holder);
    assert.equal((await bench.executions.claim(bare, bench.call)).status, "completed");
    const id = bench.id("without");
    await bench.executions.claim({ ...bare, id }, bench.call);
    assert.equal((await bench.claim({ id })).status, "running");
  },

  "compares the whole fingerprint": async (bench) => {
    const fingerprint = bench.fingerprint("payload");
    await bench.hold({ fingerprint });
    const other = `${fingerprint.slice(0, -1)}${fingerprint.endsWith("0") ? "1" : "0"}`;
    assert.deepEqual(await bench.claim({ fingerprint: other }), { status: "mismatch" });
  },

  "keeps the fingerprint when a claim without one takes over": async (bench) => {
    await bench.abandoned();
    const { fingerprint, ...bare } = bench.request();
    assert.equal((await bench.executions.claim(bare, bench.call)).status, "acquired");
    assert.equal((await bench.get())?.fingerprint, fingerprint);
    assert.deepEqual(await bench.claim({ fingerprint: bench.fingerprint("other") }), { status: "mismatch" });
  },

  "moves the end of the record when a nonce comes again after its lease": async (bench) => {
    const request = bench.request();
    await bench.abandoned(request);
    await bench.hold(request);
    bench.assertMs((await bench.get())?.expiresInMs ?? 0, bench.leaseMs + bench.retentionMs);
  },

  "has the lease at one moment before its end": async (bench) => {
    await bench.hold();
    await bench.advanceAlmost(bench.leaseMs);
    assert.equal((await bench.claim()).status, "running");
  },

  "takes a lapsed lease over at its very end, as attempt 2, and says when it lapsed": async (bench) => {
    const first = await bench.abandoned();
    const second = await bench.hold();
    assert.equal(second.claim.attempt, 2);
    assertAbove(second.claim.token, first.claim.token, "the token after the takeover");
    const created = (await bench.get())?.createdAt ?? 0;
    assert.equal(second.claim.abandonedAt, created + bench.leaseMs);
  },

  "says again when the attempt before lapsed, to the same nonce": async (bench) => {
    await bench.abandoned();
    const request = bench.request();
    const first = await bench.hold(request);
    const second = await bench.hold(request);
    assert.equal(second.claim.abandonedAt, first.claim.abandonedAt);
    assert.equal(second.claim.attempt, 2);
  },

  "reports a lapsed lease where that is asked, as often as it is asked, and changes nothing": async (bench) => {
    const { holder } = await bench.hold();
    await bench.step(holder, 0, "reserve");
    await bench.advance(bench.leaseMs);
    const before = await bench.get();
    for (let time = 0; time < 2; time += 1) {
      const answer = await bench.claim({ onAbandoned: "report" });
      assertStatus(answer, "abandoned", "claim");
      assert.equal(answer.attempt, 1);
      assert.equal(answer.leaseExpiredAt, (before?.createdAt ?? 0) + bench.leaseMs);
      assert.deepEqual(
        answer.steps.map(({ name }) => name),
        ["reserve"],
      );
    }
    await bench.assertUnchanged(before);
  },

  "lets one of 32 callers at once take over": async (bench) => {
    await bench.abandoned();
    const answers = await Promise.all(Array.from({ length: 32 }, () => bench.claim()));
    const winners = answers.filter((answer): answer is AcquiredClaim => answer.status === "acquired");
    assert.deepEqual(
      winners.map(({ attempt }) => attempt),
      [2],
    );
    assert.equal(answers.filter(({ status }) => status === "running").length, 31);
  },
};
