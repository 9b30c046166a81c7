import { strict as assert } from "node:assert";
import { type Bench, type ConformanceCases, failureOf, withHooks } from "./bench.ts";

/** {@link ExecutionStore.completeInTransaction}: the outcome stands if and only if the user's transaction commits (I21). */
export const transactionCases: ConformanceCases = {
  "commits the outcome with the user's transaction": withHooks(["transact"], async (bench) => {
    const { holder } = await bench.hold();
    await bench.step(holder, 0, "reserve");
    await bench.transact(async (tx) => {
      const answer = await bench.completeIn(tx, holder, bench.outcome("paid"));
      assert.equal(answer.status, "committed");
      bench.assertMs(
        bench.assertOutcome(answer, bench.outcome("paid"), "completeInTransaction").expiresInMs,
        bench.retentionMs,
      );
    }, "commit");
    bench.assertOutcome(await bench.get(), bench.outcome("paid"), "get");
    bench.assertOutcome(await bench.claim(), bench.outcome("paid"), "claim");
    assert.equal((await bench.complete(holder, bench.outcome("late"))).status, "committed");
  }),

  "leaves the record running when the user's transaction rolls back, for another outcome": withHooks(
    ["transact"],
    async (bench) => {
      const { holder } = await bench.hold();
      const before = await bench.get();
      await bench.transact(async (tx) => {
        assert.equal((await bench.completeIn(tx, holder)).status, "committed");
      }, "rollback");
      await bench.assertUnchanged(before);
      assert.equal((await bench.renew(holder)).status, "renewed");
      const answer = await bench.complete(holder, bench.outcome("after all"));
      assert.equal(answer.status, "committed");
      bench.assertOutcome(answer, bench.outcome("after all"), "complete");
    },
  ),

  "shows nobody an outcome whose transaction is open": withHooks(["transact", "reopen"], async (bench) => {
    const other = await bench.reopen();
    const { holder } = await bench.hold();
    assert.equal((await other.get())?.status, "running");
    await bench.transact(async (tx) => {
      await bench.completeIn(tx, holder);
      assert.equal((await other.get())?.status, "running");
    }, "commit");
    assert.equal((await other.get())?.status, "completed");
  }),

  "keeps the first of two outcomes in one transaction": withHooks(["transact"], async (bench) => {
    const { holder } = await bench.hold();
    await bench.transact(async (tx) => {
      await bench.completeIn(tx, holder, bench.outcome("first"));
      const answer = await bench.completeIn(tx, holder, bench.outcome("second"));
      assert.equal(answer.status, "committed");
      bench.assertOutcome(answer, bench.outcome("first"), "completeInTransaction");
    }, "commit");
    bench.assertOutcome(await bench.get(), bench.outcome("first"), "get");
  }),

  "does not complete for a holder that was taken over": withHooks(["transact"], async (bench) => {
    const { holder: stale } = await bench.abandoned();
    const { holder: winner } = await bench.hold();
    const before = await bench.get();
    await bench.transact(async (tx) => {
      assert.deepEqual(await bench.completeIn(tx, stale), { status: "lost" });
    }, "commit");
    await bench.assertUnchanged(before);
    await bench.complete(winner, bench.outcome("the winner's"));
    await bench.transact(async (tx) => {
      const answer = await bench.completeIn(tx, stale);
      assert.equal(answer.status, "finalized");
      bench.assertOutcome(answer, bench.outcome("the winner's"), "completeInTransaction");
    }, "rollback");
  }),

  "is missing for a record that is not there": withHooks(["transact"], async (bench) => {
    const { holder } = await bench.hold();
    await bench.forget(holder);
    await bench.transact(async (tx) => {
      assert.deepEqual(await bench.completeIn(tx, holder), { status: "missing" });
    }, "commit");
    assert.equal(await bench.get(), undefined);
  }),

  "refuses what is no open transaction of its database": withHooks(["transact"], async (bench) => {
    const { holder } = await bench.hold();
    const before = await bench.get();
    let ended: unknown;
    await bench.transact((tx) => {
      ended = tx;
    }, "commit");
    for (const tx of [ended, {}, "tx", null, undefined]) await refuses(bench, tx, holder);
    await bench.assertUnchanged(before);
  }),

  "does without the user's transaction what it always does": withHooks(["transact"], async (bench) => {
    const { holder } = await bench.hold();
    await bench.transact(() => {}, "commit");
    assert.equal((await bench.complete(holder)).status, "committed");
  }),
};

async function refuses(bench: Bench, tx: unknown, holder: Parameters<Bench["completeIn"]>[1]): Promise<void> {
  assert.equal((await failureOf(bench.completeIn(tx, holder))).code, "INVALID_OPTIONS");
}
