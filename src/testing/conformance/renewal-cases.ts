import { strict as assert } from "node:assert";
import { assertStatus, assertThere } from "./assertions.ts";
import type { ConformanceCases } from "./bench.ts";

/** {@link ExecutionStore.renew}. */
export const renewalCases: ConformanceCases = {
  "sets the lease anew, from now": async (bench) => {
    const { holder } = await bench.hold();
    await bench.advance(200_000);
    const answer = await bench.renew(holder);
    assertStatus(answer, "renewed", "renew");
    bench.assertMs(answer.leaseRemainingMs, bench.leaseMs);
    await bench.advance(bench.leaseMs - 200_000);
    assert.equal((await bench.claim()).status, "running");
    await bench.advance(200_000);
    assert.equal((await bench.claim()).status, "acquired");
  },

  "takes the length that the renewal asks for": async (bench) => {
    const { holder } = await bench.hold();
    const answer = await bench.renew(holder, { leaseMs: 2 * bench.leaseMs });
    assertStatus(answer, "renewed", "renew");
    bench.assertMs(answer.leaseRemainingMs, 2 * bench.leaseMs);
    await bench.advance(bench.leaseMs);
    assert.equal((await bench.claim()).status, "running");
  },

  "moves the end of the record with the lease": async (bench) => {
    const { holder } = await bench.hold();
    await bench.advance(200_000);
    await bench.renew(holder);
    const view = await bench.get();
    assertThere(view, "what get answers");
    bench.assertMs(view.expiresInMs, bench.leaseMs + bench.retentionMs);
  },

  "takes the retention that the renewal asks for": async (bench) => {
    const { holder } = await bench.hold();
    await bench.renew(holder, { retentionMs: 2 * bench.retentionMs });
    bench.assertMs((await bench.get())?.expiresInMs ?? 0, bench.leaseMs + 2 * bench.retentionMs);
  },

  "is harmless when it arrives twice": async (bench) => {
    const { holder } = await bench.hold();
    const [first, second] = await Promise.all([bench.renew(holder), bench.renew(holder)]);
    assert.equal(first.status, "renewed");
    assert.equal(second.status, "renewed");
    assert.equal((await bench.get())?.token, holder.token);
  },

  "keeps the token and the attempt": async (bench) => {
    const { holder } = await bench.hold();
    await bench.renew(holder);
    const view = await bench.get();
    assert.equal(view?.token, holder.token);
    assert.equal(view?.attempt, 1);
  },

  "is granted at one moment before the lease ends": async (bench) => {
    const { holder } = await bench.hold();
    await bench.advanceAlmost(bench.leaseMs);
    assert.equal((await bench.renew(holder)).status, "renewed");
  },

  "is lost at the very end of the lease, also when nobody took over": async (bench) => {
    const { holder } = await bench.abandoned();
    assert.deepEqual(await bench.renew(holder), { status: "lost" });
    assert.equal((await bench.get())?.status, "abandoned");
  },

  "is finalized after the holder's own completion, which stays": async (bench) => {
    const { holder } = await bench.hold();
    await bench.complete(holder);
    const before = await bench.get();
    assert.deepEqual(await bench.renew(holder), { status: "finalized" });
    await bench.assertUnchanged(before);
  },

  "is missing for a record that is not there": async (bench) => {
    const { holder } = await bench.hold();
    await bench.forget(holder);
    assert.deepEqual(await bench.renew(holder), { status: "missing" });
    assert.equal(await bench.get(), undefined);
  },

  "is lost for a holder that gave the record up": async (bench) => {
    const { holder } = await bench.hold();
    await bench.grantRetry(holder);
    assert.deepEqual(await bench.renew(holder), { status: "lost" });
  },
};
