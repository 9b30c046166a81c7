import { strict as assert } from "node:assert";
import type { LeaseStore } from "../../store.ts";
import { assertAbove, assertAtMost, assertStatus, assertWhole } from "./assertions.ts";
import type { Bench, ConformanceCases } from "./bench.ts";

/** Long enough for a store with a real clock to answer inside of it. */
const DURATION_MS = 600_000;

/** {@link LeaseStore}. */
export const leaseCases: ConformanceCases = {
  "grants a lease that nobody holds, whole": async (bench) => {
    const lease = await acquire(bench, "a");
    assertWhole(lease.epoch, 1, "the epoch");
    assertAbove(lease.remainingMs, DURATION_MS - 60_000, "remainingMs");
    assertAtMost(lease.remainingMs, DURATION_MS, "remainingMs");
  },

  "grants one of many that ask at once": async (bench) => {
    const asked = Array.from({ length: 20 }, (_, n) =>
      leases(bench).acquire(request(bench, `holder ${n}`), bench.call),
    );
    const answers = await Promise.all(asked);
    assert.equal(answers.filter(({ status }) => status === "acquired").length, 1);
  },

  "tells who holds it, since which epoch and for how long": async (bench) => {
    const { epoch } = await acquire(bench, "a");
    const answer = await leases(bench).acquire(request(bench, "b"), bench.call);
    assertStatus(answer, "held", "acquire");
    const { holder, renewals, durationMs } = answer;
    assert.deepEqual(
      { holder, epoch: answer.epoch, renewals, durationMs },
      { holder: "a", epoch, renewals: 0, durationMs: DURATION_MS },
    );
    assertAbove(answer.remainingMs, 0, "remainingMs");
    assertAtMost(answer.remainingMs, DURATION_MS, "remainingMs");
  },

  "answers the same nonce like the first time, and changes nothing": async (bench) => {
    const asked = request(bench, "a");
    const first = await leases(bench).acquire(asked, bench.call);
    const again = await leases(bench).acquire(asked, bench.call);
    assertStatus(first, "acquired", "acquire");
    assertStatus(again, "acquired", "acquire");
    assert.equal(again.epoch, first.epoch);
    assertAtMost(again.remainingMs, first.remainingMs, "remainingMs");
  },

  "does not grant it to its own holder under another nonce": async (bench) => {
    await acquire(bench, "a");
    const again = await leases(bench).acquire(request(bench, "a"), bench.call);
    assert.equal(again.status, "held");
  },

  "has lapsed at its very end, and not a moment before": async (bench) => {
    await acquire(bench, "a");
    await bench.advanceAlmost(DURATION_MS);
    assert.equal((await leases(bench).acquire(request(bench, "b"), bench.call)).status, "held");
    await bench.advance(DURATION_MS);
    assert.equal(await leases(bench).get("leader", bench.call), undefined);
    assert.equal((await leases(bench).acquire(request(bench, "b"), bench.call)).status, "acquired");
  },

  "raises the epoch across release, lapse and re-acquisition": async (bench) => {
    const epochs: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      const { epoch } = await acquire(bench, "a");
      epochs.push(epoch);
      await leases(bench).release({ name: "leader", holder: "a", epoch }, bench.call);
      epochs.push((await acquire(bench, "b")).epoch);
      await bench.advance(DURATION_MS);
    }
    assert.deepEqual(
      epochs,
      [...new Set(epochs)].sort((a, b) => a - b),
    );
  },

  "renews for the holder alone, whole again and with a sign of life": async (bench) => {
    const { epoch } = await acquire(bench, "a");
    await bench.advanceAlmost(DURATION_MS);
    const renewed = await renew(bench, "a", epoch);
    assertStatus(renewed, "renewed", "renew");
    assertAbove(renewed.remainingMs, DURATION_MS - 60_000, "remainingMs");
    assert.equal((await leases(bench).get("leader", bench.call))?.renewals, 1);
    assert.equal((await renew(bench, "b", epoch)).status, "lost");
    assert.equal((await renew(bench, "a", epoch + 1)).status, "lost");
  },

  "takes the length that a renewal asks for": async (bench) => {
    const { epoch } = await acquire(bench, "a");
    const request = { name: "leader", holder: "a", epoch, durationMs: 2 * DURATION_MS };
    const renewed = await leases(bench).renew(request, bench.call);
    assertStatus(renewed, "renewed", "renew");
    bench.assertMs(renewed.remainingMs, 2 * DURATION_MS);
    const view = await leases(bench).get("leader", bench.call);
    assert.equal(view?.durationMs, 2 * DURATION_MS);
    bench.assertMs(view?.remainingMs ?? 0, 2 * DURATION_MS);
  },

  "keeps the longest lease that options allow": async (bench) => {
    const durationMs = Number.MAX_SAFE_INTEGER;
    const asked = { ...request(bench, "a"), durationMs };
    const lease = await leases(bench).acquire(asked, bench.call);
    assertStatus(lease, "acquired", "acquire");
    await bench.advance(DURATION_MS);
    const { epoch } = lease;
    const renewed = await leases(bench).renew({ name: "leader", holder: "a", epoch, durationMs }, bench.call);
    assert.equal(renewed.status, "renewed");
    assert.equal((await leases(bench).get("leader", bench.call))?.epoch, epoch);
  },

  "gives a nonce that comes again after its lease a new epoch": async (bench) => {
    const asked = request(bench, "a");
    const first = await leases(bench).acquire(asked, bench.call);
    await bench.advance(DURATION_MS);
    const again = await leases(bench).acquire(asked, bench.call);
    assertStatus(first, "acquired", "acquire");
    assertStatus(again, "acquired", "acquire");
    assertAbove(again.epoch, first.epoch, "the epoch of the second grant");
  },

  "is released by its holder under its epoch alone": async (bench) => {
    const { epoch } = await acquire(bench, "a");
    const holder = { name: "leader", holder: "a", epoch };
    assert.equal((await leases(bench).release({ ...holder, holder: "b" }, bench.call)).status, "lost");
    assert.equal((await leases(bench).release({ ...holder, epoch: epoch + 1 }, bench.call)).status, "lost");
    assert.equal((await leases(bench).get("leader", bench.call))?.epoch, epoch);
  },

  "does not revive a lease that has lapsed": async (bench) => {
    const { epoch } = await acquire(bench, "a");
    await bench.advance(DURATION_MS);
    assert.equal((await renew(bench, "a", epoch)).status, "lost");
    assert.equal(await leases(bench).get("leader", bench.call), undefined);
  },

  "takes no renewal and no release from a holder that was followed": async (bench) => {
    const old = await acquire(bench, "a");
    await bench.advance(DURATION_MS);
    const { epoch } = await acquire(bench, "b");
    assert.equal((await renew(bench, "a", old.epoch)).status, "lost");
    const released = await leases(bench).release({ name: "leader", holder: "a", epoch: old.epoch }, bench.call);
    assert.equal(released.status, "lost");
    assert.equal((await leases(bench).get("leader", bench.call))?.epoch, epoch);
  },

  "is free at once after its release, and knows nothing to renew or release then": async (bench) => {
    const { epoch } = await acquire(bench, "a");
    const holder = { name: "leader", holder: "a", epoch };
    assert.equal((await leases(bench).release(holder, bench.call)).status, "released");
    assert.equal((await leases(bench).release(holder, bench.call)).status, "missing");
    assert.equal((await renew(bench, "a", epoch)).status, "missing");
    assert.equal((await leases(bench).acquire(request(bench, "b"), bench.call)).status, "acquired");
  },

  "keeps names apart, and lists those with a prefix that are alive": async (bench) => {
    const names = ["shard/2", "shard/1", "shard/%", "shardless", "it's; DROP TABLE", "shard/lapsed"];
    for (const name of names) {
      const durationMs = name === "shard/lapsed" ? 1_000 : DURATION_MS;
      await leases(bench).acquire({ ...request(bench, `holder of ${name}`), name, durationMs }, bench.call);
    }
    await bench.advance(1_000);
    const listed = async (prefix: string) => (await leases(bench).list(prefix, bench.call)).map(({ name }) => name);
    assert.deepEqual(await listed("shard/"), ["shard/%", "shard/1", "shard/2"]);
    assert.deepEqual(await listed("shard/%"), ["shard/%"]);
    assert.deepEqual(await listed("it's;"), ["it's; DROP TABLE"]);
    assert.equal((await listed("")).length, 5);
    assert.equal((await leases(bench).get("shard/1", bench.call))?.holder, "holder of shard/1");
  },

  "keeps apart what differs in case or in composition, and lists by code points": async (bench) => {
    // UTF-16 has the last two the other way round.
    const names = ["Leader", "leader", "leade\u0301r", "lead\u00e9r", "\uff5e", "\u{1F680}"];
    for (const name of [...names].reverse()) {
      const asked = { ...request(bench, `holder of ${name}`), name };
      assert.equal((await leases(bench).acquire(asked, bench.call)).status, "acquired");
    }
    const listed = await leases(bench).list("", bench.call);
    assert.deepEqual(
      listed.map(({ name }) => name),
      ["Leader", "leader", "leade\u0301r", "lead\u00e9r", "\uff5e", "\u{1F680}"],
    );
  },

  "is refused by a store that is closed": async (bench) => {
    const { epoch } = await acquire(bench, "a");
    await bench.store.close();
    const holder = { name: "leader", holder: "a", epoch };
    await assert.rejects(renew(bench, "a", epoch), { code: "STORE_UNAVAILABLE" });
    await assert.rejects(leases(bench).release(holder, bench.call), { code: "STORE_UNAVAILABLE" });
    await assert.rejects(leases(bench).list("", bench.call), { code: "STORE_UNAVAILABLE" });
    await assert.rejects(leases(bench).acquire(request(bench, "a"), bench.call), { code: "STORE_UNAVAILABLE" });
    await assert.rejects(leases(bench).get("leader", bench.call), { code: "STORE_UNAVAILABLE" });
  },
};

const leases = (bench: Bench): LeaseStore => bench.leases;

function request(bench: Bench, holder: string) {
  return { name: "leader", holder, nonce: bench.nonce(), durationMs: DURATION_MS };
}

async function acquire(bench: Bench, holder: string): Promise<{ epoch: number; remainingMs: number }> {
  const answer = await leases(bench).acquire(request(bench, holder), bench.call);
  assert.ok(answer.status === "acquired", `the lease is ${answer.status}`);
  return answer;
}

function renew(bench: Bench, holder: string, epoch: number) {
  return leases(bench).renew({ name: "leader", holder, epoch, durationMs: DURATION_MS }, bench.call);
}
