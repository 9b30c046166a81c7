import { strict as assert } from "node:assert";
import type { ResourceRow, ResourceState } from "../../store.ts";
import { assertAbove, assertAtMost } from "./assertions.ts";
import type { ConformanceCases } from "./bench.ts";
import { nameOf, ResourceBench, SILENCE_MS, timeless } from "./resource-bench.ts";

const STATES: readonly ResourceState[] = ["PENDING", "PROVISIONED", "FAILED", "TERMINATING", "TERMINATED"];

/** {@link ResourceStore.list}, {@link ResourceStore.purge}, and what ids and texts may hold. */
export const resourceListCases: ConformanceCases = {
  "lists by id, and each id's incarnations by number": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.madeAll(["web-2", "web-10", "Web-1", "web-1"], { state: "TERMINATED" });
    for (let after = 1; after < 11; after += 1) await ledger.made({ after, state: "TERMINATED" });
    const incarnations = Array.from({ length: 11 }, (_, index) => `web-1/${index + 1}`);
    assert.deepEqual(await ledger.listed(), ["Web-1/1", ...incarnations, "web-10/1", "web-2/1"]);
  },

  "orders ids by their code points": async (bench) => {
    const ledger = new ResourceBench(bench);
    const ids = ["a", "ab", "a\u0300", "b", "é", "\u{e000}", "\uffee", "\u{10000}", "\u{1f980}", "\u{1f980}!"];
    await ledger.madeAll([...ids].reverse());
    assert.deepEqual(
      (await ledger.list()).map(({ id }) => id),
      ids,
    );
    for (const [index, id] of ids.entries()) {
      const rest = await ledger.list({ after: { id, incarnation: 1 } });
      assert.deepEqual(
        rest.map((row) => row.id),
        ids.slice(index + 1),
        `what comes after the ${index}th`,
      );
    }
  },

  "lists each row once, page by page": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.madeAll(["a", "b", "c", "d"], { state: "TERMINATED" });
    await ledger.decided(["b", "c"].map((id) => ledger.creation({ id, after: 1 })));
    const seen: ResourceRow[] = [];
    for (let page = 0; page < 4; page += 1) {
      const after = seen.at(-1);
      const rows = await ledger.list({ limit: 2, ...(after === undefined ? {} : { after }) });
      assertAtMost(rows.length, 2, "the number of rows of a page of 2");
      seen.push(...rows);
    }
    assert.deepEqual(seen.map(nameOf), ["a/1", "b/1", "b/2", "c/1", "c/2", "d/1"]);
  },

  "goes on after a row that is not there": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.madeAll(["a", "c"]);
    assert.deepEqual(await ledger.listed({ after: { id: "b", incarnation: 5 } }), ["c/1"]);
    assert.deepEqual(await ledger.listed({ after: { id: "a", incarnation: 0 } }), ["a/1", "c/1"]);
    assert.deepEqual(await ledger.listed({ after: { id: "c", incarnation: 1 } }), []);
  },

  "lists those of the states that are asked for, whole pages of them": async (bench) => {
    const ledger = new ResourceBench(bench);
    const ids = Array.from({ length: 15 }, (_, index) => `web-${String(index).padStart(2, "0")}`);
    await ledger.decided(ids.map((id, index) => ledger.creation({ id, state: STATES[index % 5] as ResourceState })));
    for (const [at, state] of STATES.entries()) {
      const expected = ids.filter((_, index) => index % 5 === at).map((id) => `${id}/1`);
      assert.deepEqual(await ledger.listed({ states: [state] }), expected);
      assert.deepEqual(await ledger.listed({ states: [state], limit: 2 }), expected.slice(0, 2));
    }
    const two = await ledger.listed({ states: ["FAILED", "PENDING"], limit: 4 });
    assert.deepEqual(two, ["web-00/1", "web-02/1", "web-05/1", "web-07/1"]);
    assert.equal((await ledger.list({ states: STATES })).length, 15);
    assert.deepEqual(await ledger.list({ states: [] }), []);
  },

  "lists no rows of other groups": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.made();
    for (const group of ["worker", "workers2", "workers:web", "Workers", "workers%", "workers_"]) {
      assert.deepEqual(await ledger.list({ group }), []);
      await ledger.applied(ledger.creation({ id: "theirs" }), { group });
    }
    assert.deepEqual(await ledger.listed(), ["web-1/1"]);
  },

  "lists the same that it reads one by one": async (bench) => {
    const ledger = new ResourceBench(bench);
    const lease = { durationMs: 1_000, token: "grant" } as const;
    await ledger.made({ spec: "s", externalId: "e", reason: "r", lease, state: "PROVISIONED" });
    await ledger.beat();
    const [listed] = await ledger.list();
    const [changed] = (await ledger.changes()).rows;
    assert.deepEqual(timeless(listed), timeless(await ledger.get()));
    assert.deepEqual(timeless(changed), timeless(listed));
  },

  "takes ids and groups for data": async (bench) => {
    const ledger = new ResourceBench(bench);
    const odd = [
      "a b",
      "'; DROP TABLE evenkeel_resources; --",
      'say "hi"',
      "{a}",
      "{a}b",
      "50%",
      "a_c",
      "*?[a-z]",
      "line\nbreak\r\ttab",
      "a:b",
      "a:b:1",
      "a/1",
      "\\",
      "$1",
      "__proto__",
      "constructor",
      "nul\\u0000",
      " lead",
      "trail ",
      "\u{1f980}\u{10ffff}",
      "e\u0301",
      "é",
      "x".repeat(255),
      "\u{1f980}".repeat(127),
    ];
    await ledger.madeAll(odd, { state: "PROVISIONED" });
    assert.equal((await ledger.list()).length, odd.length);
    for (const id of odd) {
      const row = await ledger.get(id);
      assert.equal(row?.id, id);
      assert.equal(await ledger.beat(id, 1), "accepted");
    }
    for (const group of odd.slice(0, 12)) await ledger.applied(ledger.creation({ id: group }), { group });
    for (const group of odd.slice(0, 12)) assert.deepEqual(await ledger.listed({ group }), [`${group}/1`]);
  },

  "takes texts for data, up to a megabyte": async (bench) => {
    const ledger = new ResourceBench(bench);
    const odd = " quote ' \" \\ \n \r \t {} % null \u2028 \u{1f980} \ufffd ";
    const row = await ledger.made({ spec: "\u{1f980}ß".repeat(174_763), externalId: odd, reason: odd });
    const read = await ledger.get();
    assert.equal(row.spec?.length, 524_289);
    assert.ok(read?.spec === row.spec, "a megabyte of UTF-8 comes back whole");
    assert.deepEqual([read?.externalId, read?.reason], [odd, odd]);
    await ledger.desire(odd);
    await ledger.decided([], { status: `${odd} status` });
    const { desired, status } = await ledger.desired();
    assert.deepEqual([desired, status], [odd, `${odd} status`]);
  },

  "keeps numbers as large as whole numbers can be": async (bench) => {
    const ledger = new ResourceBench(bench);
    const { generation, attempt } = await ledger.made({ generation: Number.MAX_SAFE_INTEGER, attempt: 2 ** 40 });
    assert.deepEqual([generation, attempt], [Number.MAX_SAFE_INTEGER, 2 ** 40]);
    const read = await ledger.get();
    assert.deepEqual([read?.generation, read?.attempt], [generation, attempt]);
  },

  "purges tombstones from the age on that is asked for, and nothing else": async (bench) => {
    const ledger = new ResourceBench(bench);
    for (const state of STATES) await ledger.made({ id: state, state });
    assert.deepEqual(await ledger.purge(), { purged: 0 });
    await bench.advanceAlmost(SILENCE_MS);
    assert.deepEqual(await ledger.purge(), { purged: 0 });
    await bench.advance(SILENCE_MS);
    await ledger.made({ id: "fresh tombstone", state: "TERMINATED" });
    assert.deepEqual(await ledger.purge(), { purged: 1 });
    const left = (await ledger.list()).map(({ id }) => id);
    assert.deepEqual(left, ["FAILED", "PENDING", "PROVISIONED", "TERMINATING", "fresh tombstone"]);
    assert.equal(await ledger.get("TERMINATED"), undefined);
  },

  "counts a tombstone's age from when it was terminated": async (bench) => {
    const ledger = new ResourceBench(bench);
    const row = await ledger.made({ state: "PROVISIONED" });
    await bench.advance(SILENCE_MS);
    const tombstone = await ledger.changed(row, { state: "TERMINATED" });
    assert.deepEqual(await ledger.purge(), { purged: 0 });
    await bench.advance(SILENCE_MS / 2);
    await ledger.changed(tombstone, { reason: "written again, not terminated again" });
    await bench.advance(SILENCE_MS / 2);
    assert.deepEqual(await ledger.purge(), { purged: 1 });
  },

  "purges no more than it is told, and no other group's": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.madeAll(["a", "b", "c", "d", "e"], { state: "TERMINATED" });
    await ledger.applied(ledger.creation({ state: "TERMINATED" }), { group: "others" });
    await bench.advance(1);
    assert.deepEqual(await ledger.purge(1, 2), { purged: 2 });
    assert.deepEqual(await ledger.purge(1, 2), { purged: 2 });
    assert.deepEqual(await ledger.purge(1, 2), { purged: 1 });
    assert.deepEqual(await ledger.purge(1, 2), { purged: 0 });
    assert.deepEqual(await ledger.purge(1).then(() => ledger.listed({ group: "others" })), ["web-1/1"]);
  },

  "raises incarnations and tokens across a purge": async (bench) => {
    const ledger = new ResourceBench(bench);
    const lease = { durationMs: 1_000, token: "grant" } as const;
    const seen: ResourceRow[] = [];
    for (let round = 0; round < 3; round += 1) {
      const row = await ledger.made({ lease });
      const next = await ledger.made({ after: row.incarnation, lease });
      seen.push(row, next);
      for (const each of [row, next]) await ledger.changed(each, { state: "TERMINATED" });
      await bench.advance(SILENCE_MS);
      assert.deepEqual(await ledger.purge(), { purged: 2 });
      assert.equal(await ledger.get(), undefined);
    }
    for (const [index, row] of seen.entries()) {
      const before = seen[index - 1];
      if (before === undefined) continue;
      assert.ok(row.incarnation > before.incarnation, "incarnations rise");
      assert.ok(row.fencingToken > before.fencingToken, "tokens rise");
    }
  },

  "raises incarnations beside an older one that outlived the purge": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.made({ state: "TERMINATING" });
    await ledger.made({ after: 1, state: "TERMINATED" });
    await bench.advance(SILENCE_MS);
    assert.deepEqual(await ledger.purge(), { purged: 1 });
    assert.equal((await ledger.get())?.incarnation, 1);
    assertAbove((await ledger.made({ after: 1 })).incarnation, 2, "the incarnation after the purge");
  },

  "keeps the epoch and what is desired across a purge": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.desire("10", 4);
    await ledger.applied(ledger.creation({ state: "TERMINATED" }), { epoch: 4 });
    await bench.advance(SILENCE_MS);
    await ledger.purge();
    assert.deepEqual(await ledger.desired(), { generation: 1, desired: "10", epoch: 4 });
    assert.deepEqual(await ledger.apply([], { epoch: 3 }), { status: "fenced", epoch: 4 });
  },
};
