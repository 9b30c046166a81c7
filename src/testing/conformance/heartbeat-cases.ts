import { strict as assert } from "node:assert";
import type { ResourceState } from "../../store.ts";
import { assertAtLeast, assertThere } from "./assertions.ts";
import type { ConformanceCases } from "./bench.ts";
import { nameOf, ResourceBench, SILENCE_MS, timeless } from "./resource-bench.ts";

/** {@link ResourceStore.heartbeat} and {@link ResourceStore.staleBefore}. */
export const heartbeatCases: ConformanceCases = {
  "stamps a row with its own time, and changes nothing else": async (bench) => {
    const ledger = new ResourceBench(bench);
    const row = await ledger.made({ state: "PROVISIONED" });
    const { cursor } = await ledger.changes();
    await bench.advance(1_000);
    assert.equal(await ledger.beat(), "accepted");
    const after = await ledger.get();
    assertAtLeast(after?.lastHeartbeatAt, row.createdAt + 1_000, "lastHeartbeatAt");
    assert.deepEqual(timeless(after), { ...timeless(row), lastHeartbeatAt: after?.lastHeartbeatAt });
    assert.deepEqual(await ledger.changes(cursor), { rows: [], cursor, reset: false });
  },

  "keeps the last beat over the writes that follow": async (bench) => {
    const ledger = new ResourceBench(bench);
    const row = await ledger.made();
    await ledger.beat();
    const lastHeartbeatAt = (await ledger.get())?.lastHeartbeatAt;
    await bench.advance(1_000);
    assert.equal((await ledger.changed(row, { state: "PROVISIONED" })).lastHeartbeatAt, lastHeartbeatAt);
    const next = await ledger.made({ after: 1 });
    assert.ok(!("lastHeartbeatAt" in next), "the next incarnation has not beaten");
  },

  "answers by the state of the row that beats": async (bench) => {
    const ledger = new ResourceBench(bench);
    const answers: Readonly<Record<ResourceState, string>> = {
      PENDING: "accepted",
      PROVISIONED: "accepted",
      FAILED: "superseded",
      TERMINATING: "accepted",
      TERMINATED: "superseded",
    };
    for (const [state, expected] of Object.entries(answers)) {
      const row = await ledger.made({ id: state, state: state as ResourceState });
      assert.equal(await ledger.beat(state), expected, `${state}, newest`);
      assert.equal(await ledger.beat(state, 1), expected, `${state}, by its incarnation`);
      const after = await ledger.get(state);
      if (expected === "accepted") assert.ok(after?.lastHeartbeatAt !== undefined, `${state} is stamped`);
      else assert.deepEqual(timeless(after), timeless(row), `${state} is not stamped`);
    }
  },

  "answers by the state of an old incarnation beside a newer one": async (bench) => {
    const ledger = new ResourceBench(bench);
    const answers: Readonly<Record<ResourceState, string>> = {
      PENDING: "accepted",
      PROVISIONED: "accepted",
      FAILED: "superseded",
      TERMINATING: "superseded",
      TERMINATED: "superseded",
    };
    for (const [state, expected] of Object.entries(answers)) {
      await ledger.made({ id: state, state: state as ResourceState });
      await ledger.made({ id: state, after: 1, state: "PROVISIONED" });
      assert.equal(await ledger.beat(state, 1), expected, `${state} beside a newer one`);
      const [old, newest] = await ledger.list({ after: { id: state, incarnation: 0 }, limit: 2 });
      assert.equal(old?.lastHeartbeatAt !== undefined, expected === "accepted");
      assert.equal(newest?.lastHeartbeatAt, undefined, "the newer one is not stamped");
    }
  },

  "stamps the newest incarnation where none is named": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.made({ state: "PROVISIONED" });
    await ledger.made({ after: 1 });
    assert.equal(await ledger.beat(), "accepted");
    const stamped = (await ledger.list()).map((row) => row.lastHeartbeatAt !== undefined);
    assert.deepEqual(stamped, [false, true]);
  },

  "finds nobody under an id or an incarnation that never was": async (bench) => {
    const ledger = new ResourceBench(bench);
    assert.equal(await ledger.beat("web-9"), "missing");
    await ledger.made({ state: "PROVISIONED" });
    assert.equal(await ledger.beat("web-9"), "missing");
    assert.equal(await ledger.beat("web-9", 1), "missing");
    assert.equal(await ledger.beat("web-1", 2), "missing");
    assert.equal((await ledger.get())?.lastHeartbeatAt, undefined);
  },

  "tells a zombie that it was replaced, also after its row was purged": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.made({ state: "TERMINATED" });
    await ledger.made({ after: 1, state: "PROVISIONED" });
    await bench.advance(SILENCE_MS);
    assert.deepEqual(await ledger.purge(), { purged: 1 });
    assert.equal(await ledger.beat("web-1", 1), "superseded");
    assert.equal(await ledger.beat("web-1", 2), "accepted");
    await ledger.made({ id: "web-2", after: 0, state: "TERMINATED" });
    const gone = (await ledger.get("web-2"))?.incarnation ?? 0;
    await bench.advance(SILENCE_MS);
    assert.deepEqual(await ledger.purge(), { purged: 1 });
    assert.equal(await ledger.beat("web-2", gone), "superseded");
    assert.equal(await ledger.beat("web-2", gone + 1), "missing");
    assert.equal(await ledger.beat("web-2"), "missing");
  },

  "answers a batch in its order, each beat on its own": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.madeAll(["a", "b"], { state: "PROVISIONED" });
    await ledger.made({ id: "c", state: "FAILED" });
    const beats = [{ id: "c" }, { id: "nobody" }, { id: "b", incarnation: 1 }, { id: "a" }, { id: "a" }];
    const answers = await ledger.resources.heartbeat({ group: ledger.group, beats }, bench.call);
    assert.deepEqual(
      answers.map(({ status }) => status),
      ["superseded", "missing", "accepted", "accepted", "accepted"],
    );
    assert.deepEqual(await ledger.resources.heartbeat({ group: ledger.group, beats: [] }, bench.call), []);
  },

  "takes a thousand beats at once": async (bench) => {
    const ledger = new ResourceBench(bench);
    const ids = Array.from({ length: 1_000 }, (_, index) => `web-${index}`);
    await ledger.madeAll(ids, { state: "PROVISIONED" });
    const beats = ids.map((id) => ({ id, incarnation: 1 }));
    const answers = await ledger.resources.heartbeat({ group: ledger.group, beats }, bench.call);
    assert.equal(answers.filter(({ status }) => status === "accepted").length, 1_000);
    const rows = await ledger.list({ limit: 1_000 });
    assert.equal(rows.filter(({ lastHeartbeatAt }) => lastHeartbeatAt !== undefined).length, 1_000);
  },

  "lets a beat in between win over who holds the row for silent": async (bench) => {
    const ledger = new ResourceBench(bench);
    const row = await ledger.made({ state: "PROVISIONED" });
    await bench.advance(SILENCE_MS + 1);
    const dead = () => ledger.updateOf(row, { state: "FAILED", ifSilentForMs: SILENCE_MS });
    await ledger.beat();
    const stands = await ledger.conflicting(dead());
    assert.equal(stands?.state, "PROVISIONED");
    assertThere(stands?.lastHeartbeatAt, "lastHeartbeatAt");
    await bench.advance(SILENCE_MS + 1);
    assert.equal((await ledger.applied(dead())).state, "FAILED");
  },

  "holds for silent what was silent for strictly longer": async (bench) => {
    const ledger = new ResourceBench(bench);
    const row = await ledger.made({ state: "PROVISIONED" });
    const dead = () => ledger.updateOf(row, { state: "FAILED", ifSilentForMs: SILENCE_MS });
    await ledger.conflicting(dead());
    if (bench.capabilities.exactTime) {
      await bench.advance(SILENCE_MS);
      await ledger.conflicting(dead());
      await bench.advance(1);
    } else await bench.advance(SILENCE_MS + 1);
    await ledger.applied(dead());
  },

  "finds no silent rows in an empty group": async (bench) => {
    assert.deepEqual(await new ResourceBench(bench).stale(), { rows: [] });
  },

  "tells silent rows once they are silent for strictly longer, and when the next one will be": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.made({ state: "PROVISIONED" });
    const fresh = await ledger.stale();
    assert.deepEqual(fresh.rows, []);
    bench.assertMs(fresh.nextInMs ?? 0, SILENCE_MS + 1);
    if (bench.capabilities.exactTime) {
      await bench.advance(SILENCE_MS);
      assert.deepEqual(await ledger.stale(), { rows: [], nextInMs: 1 });
      await bench.advance(1);
    } else await bench.advance(SILENCE_MS + 1);
    const { rows, nextInMs } = await ledger.stale();
    assert.deepEqual(rows.map(timeless), [timeless(await ledger.get())]);
    assert.equal(nextInMs, undefined);
  },

  "counts silence from the last beat, else from when the row was provisioned": async (bench) => {
    const ledger = new ResourceBench(bench);
    const pending = await ledger.made({ id: "slow" });
    await ledger.made({ id: "beats", state: "PROVISIONED" });
    await bench.advance(SILENCE_MS / 2);
    await ledger.changed(pending, { state: "PROVISIONED" });
    await ledger.beat("beats");
    await bench.advance(SILENCE_MS / 2 + 10_000);
    assert.deepEqual((await ledger.stale()).rows, []);
    await bench.advance(SILENCE_MS / 2);
    assert.equal((await ledger.stale()).rows.length, 2);
    await ledger.beat("beats");
    assert.deepEqual((await ledger.stale()).rows.map(nameOf), ["slow/1"]);
  },

  "tells the longest silent first, as many as are asked for": async (bench) => {
    const ledger = new ResourceBench(bench);
    for (const id of ["c", "a", "d", "b"]) {
      await ledger.made({ id, state: "PROVISIONED" });
      await bench.advance(1_000);
    }
    await ledger.beat("c");
    await bench.advance(SILENCE_MS + 1);
    const ids = async (limit: number) => (await ledger.stale(SILENCE_MS, limit)).rows.map(({ id }) => id);
    assert.deepEqual(await ids(9), ["a", "d", "b", "c"]);
    assert.deepEqual(await ids(2), ["a", "d"]);
    assert.equal((await ledger.stale(SILENCE_MS, 2)).nextInMs, 0, "the third waits for its turn alone");
    assert.equal((await ledger.stale(SILENCE_MS, 4)).nextInMs, undefined);
  },

  "tells when the next one will be beside those that are silent": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.made({ id: "old", state: "PROVISIONED" });
    await bench.advance(SILENCE_MS + 1);
    await ledger.made({ id: "young", state: "PROVISIONED" });
    const { rows, nextInMs } = await ledger.stale();
    assert.deepEqual(rows.map(nameOf), ["old/1"]);
    bench.assertMs(nextInMs ?? 0, SILENCE_MS + 1);
  },

  "asks no sign of life of rows that are not provisioned": async (bench) => {
    const ledger = new ResourceBench(bench);
    for (const state of ["PENDING", "FAILED", "TERMINATING", "TERMINATED"] as const) {
      await ledger.made({ id: state, state });
    }
    const row = await ledger.made({ id: "was provisioned", state: "PROVISIONED" });
    await ledger.changed(row, { state: "TERMINATING" });
    await bench.advance(SILENCE_MS + 1);
    assert.deepEqual(await ledger.stale(), { rows: [] });
  },

  "watches over each group on its own, and over old incarnations too": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.applied(ledger.creation({ state: "PROVISIONED" }), { group: "others" });
    await ledger.made({ state: "PROVISIONED" });
    await ledger.made({ after: 1, state: "PROVISIONED" });
    await bench.advance(SILENCE_MS + 1);
    await ledger.beat("web-1", 2);
    assert.deepEqual((await ledger.stale()).rows.map(nameOf), ["web-1/1"]);
  },
};
