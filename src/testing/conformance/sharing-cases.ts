import { strict as assert } from "node:assert";
import type { CompleteResult, Holder } from "../../store.ts";
import { assertStatus } from "./assertions.ts";
import { type Bench, type ConformanceCases, withHooks } from "./bench.ts";

/** Several store objects on one ledger, as the processes of a service have them: together they are one store. */
export const sharingCases: ConformanceCases = {
  "grants one of 32 callers over 4 store objects": withHooks(["reopen"], async (bench) => {
    const answers = await Promise.all(eachOf(await four(bench), 8).map((each) => each.claim()));
    assert.equal(answers.filter(({ status }) => status === "acquired").length, 1);
    assert.equal(answers.filter(({ status }) => status === "running").length, 31);
  }),

  "lets one of 32 callers over 4 store objects take over": withHooks(["reopen"], async (bench) => {
    const benches = await four(bench);
    await bench.abandoned();
    const answers = await Promise.all(eachOf(benches, 8).map((each) => each.claim()));
    const attempts = answers.flatMap((answer) => (answer.status === "acquired" ? [answer.attempt] : []));
    assert.deepEqual(attempts, [2]);
  }),

  "grants one request the same claim through every store object": withHooks(["reopen"], async (bench) => {
    const request = bench.request();
    const held = await Promise.all((await four(bench)).map((each) => each.hold(request)));
    assert.equal(new Set(held.map(({ claim }) => claim.token)).size, 1);
  }),

  "gives no token twice, whoever asks where": withHooks(["reopen"], async (bench) => {
    const benches = eachOf(await four(bench), 4);
    const ids = benches.map((_, index) => bench.id(`record ${index % 4}`));
    const held = await Promise.all(benches.map((each, index) => each.claim({ id: ids[index] as string })));
    const tokens = held.flatMap((answer) => (answer.status === "acquired" ? [answer.token] : []));
    assert.equal(tokens.length, 4);
  }),

  "refuses a stale holder through another store object than its own": withHooks(["reopen"], async (bench) => {
    const other = await bench.reopen();
    const { holder: stale } = await bench.abandoned();
    const { holder: winner } = await other.hold();
    assert.deepEqual(await bench.complete(stale), { status: "lost" });
    assert.deepEqual(await other.complete(stale), { status: "lost" });
    await other.complete(winner, bench.outcome("the winner's"));
    const answer = await bench.complete(stale);
    assert.equal(answer.status, "finalized");
    bench.assertOutcome(answer, bench.outcome("the winner's"), "complete");
  }),

  "commits one outcome of 8 completions over 4 store objects": withHooks(["reopen"], async (bench) => {
    const benches = eachOf(await four(bench), 2);
    const { holder } = await bench.hold();
    const answers = await Promise.all(benches.map((each, n) => each.complete(holder, bench.outcome(`${n}`))));
    const stands = await bench.claim();
    assertStatus(stands, "completed", "claim");
    for (const answer of answers) bench.assertOutcome(answer, stands.outcome, "complete");
  }),

  "gives a record to one of 8 that seize it over 4 store objects": withHooks(["reopen"], async (bench) => {
    const benches = eachOf(await four(bench), 2);
    const { holder } = await bench.hold();
    const answers = await Promise.all(
      benches.map((each) => each.executions.seize(bench.seizure(holder.token), bench.call)),
    );
    assert.equal(answers.filter(({ status }) => status === "seized").length, 1);
    assert.equal((await bench.renew(holder)).status, "lost");
  }),

  "lets callers and operators race for a record, and commits one outcome": withHooks(["reopen"], async (bench) => {
    const benches = eachOf(await four(bench), 2);
    const settled: CompleteResult[] = [];
    const finish = async (each: Bench, holder: Holder, turn: number): Promise<void> => {
      // The last turn settles for good; until then the record goes from hand to hand.
      if (turn < 4) await each.grantRetry(holder);
      else settled.push(await each.complete(holder, bench.outcome(`by ${holder.nonce}`)));
    };
    const call = async (each: Bench): Promise<void> => {
      for (let turn = 0; turn < 5; turn += 1) {
        const request = each.request();
        const { id, nonce } = request;
        const claim = await each.executions.claim(request, each.call);
        if (claim.status === "acquired") await finish(each, { id, nonce, token: claim.token }, turn);
      }
    };
    const operate = async (each: Bench): Promise<void> => {
      for (let turn = 0; turn < 5; turn += 1) {
        const request = each.seizure((await each.get())?.token ?? 1);
        const { id, nonce } = request;
        const seized = await each.executions.seize(request, each.call);
        if (seized.status === "seized") await finish(each, { id, nonce, token: seized.token }, turn);
      }
    };
    await Promise.all(benches.flatMap((each) => [call(each), operate(each)]));
    // Whoever came too late has left it to be claimed.
    const last = await bench.claim();
    if (last.status !== "completed") return;
    assert.equal(settled.filter(({ status }) => status === "committed").length, 1);
    for (const answer of settled) if ("outcome" in answer) bench.assertOutcome(answer, last.outcome, "complete");
  }),

  "grants a lease to one of 16 that ask over 4 store objects": withHooks(["reopen"], async (bench) => {
    const answers = await Promise.all(
      eachOf(await four(bench), 4).map((each, n) => {
        const request = { name: "leader", holder: `holder ${n}`, nonce: bench.nonce(), durationMs: 600_000 };
        return each.leases.acquire(request, bench.call);
      }),
    );
    assert.equal(answers.filter(({ status }) => status === "acquired").length, 1);
  }),

  "goes on when one of the store objects is closed": withHooks(["reopen"], async (bench) => {
    const other = await bench.reopen();
    const { holder } = await bench.hold();
    await bench.store.close();
    assert.equal((await other.claim()).status, "running");
    assert.equal((await other.complete(holder)).status, "committed");
  }),
};

async function four(bench: Bench): Promise<Bench[]> {
  return [bench, await bench.reopen(), await bench.reopen(), await bench.reopen()];
}

/** Each of them so many times, in turn. */
function eachOf(benches: readonly Bench[], times: number): Bench[] {
  return Array.from({ length: times }, () => benches).flat();
}
