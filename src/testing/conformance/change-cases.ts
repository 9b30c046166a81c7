import { strict as assert } from "node:assert";
import { turnOfEventLoop } from "../../clock.ts";
import { assertAtMost, assertThere } from "./assertions.ts";
import type { ConformanceCases } from "./bench.ts";
import { nameOf, ResourceBench, SILENCE_MS, timeless } from "./resource-bench.ts";

/** {@link ResourceStore.changedSince}. */
export const changeCases: ConformanceCases = {
  "knows of no change in a group that is not there": async (bench) => {
    const ledger = new ResourceBench(bench);
    const { rows, cursor, reset } = await ledger.changes();
    assert.deepEqual([rows, reset], [[], false]);
    assert.deepEqual(await ledger.changes(cursor), { rows: [], cursor, reset: false });
  },

  "goes on from a group that was not there yet": async (bench) => {
    const ledger = new ResourceBench(bench);
    const { cursor } = await ledger.changes();
    const row = await ledger.made();
    const next = await ledger.changes(cursor);
    assert.deepEqual(next.rows.map(timeless), [timeless(row)]);
    assert.equal(next.reset, false);
  },

  "tells changed rows in the order of their last writes, each once and as it is now": async (bench) => {
    const ledger = new ResourceBench(bench);
    const [a] = await ledger.madeAll(["a", "b", "c"]);
    assertThere(a, "the first row");
    const again = await ledger.changed(a, { state: "PROVISIONED" });
    const { rows } = await ledger.changes();
    assert.deepEqual(rows.map(nameOf), ["b/1", "c/1", "a/1"]);
    assert.deepEqual(timeless(rows[2]), timeless(again));
  },

  "tells nothing new under the same cursor where nothing is new": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.madeAll(["a", "b"]);
    const { cursor } = await ledger.changes();
    assert.deepEqual(await ledger.changes(cursor), { rows: [], cursor, reset: false });
    await ledger.desire("10");
    await ledger.decided([], { status: "fine", epoch: 1 });
    assert.deepEqual(await ledger.changes(cursor), { rows: [], cursor, reset: false });
  },

  "tells what was written since a cursor, and no more": async (bench) => {
    const ledger = new ResourceBench(bench);
    const [a] = await ledger.madeAll(["a", "b"]);
    assertThere(a, "the first row");
    const { cursor } = await ledger.changes();
    await ledger.changed(a, { state: "FAILED" });
    const since = await ledger.changes(cursor);
    assert.deepEqual(since.rows.map(nameOf), ["a/1"]);
    assert.deepEqual((await ledger.changes(since.cursor)).rows, []);
    assert.deepEqual((await ledger.changes(cursor)).rows.map(nameOf), ["a/1"], "a cursor can be used again");
  },

  "tells nothing of writes that changed nothing": async (bench) => {
    const ledger = new ResourceBench(bench);
    const creation = ledger.creation();
    const row = await ledger.applied(creation, { epoch: 1 });
    const { cursor } = await ledger.changes();
    await ledger.applied(creation, { epoch: 1 });
    await ledger.conflicting(ledger.updateOf(row, { expectedVersion: 7 }), { epoch: 1 });
    await ledger.apply([ledger.updateOf(row)], { epoch: 0 });
    assert.deepEqual(await ledger.changes(cursor), { rows: [], cursor, reset: false });
  },

  "tells each row once, page by page": async (bench) => {
    const ledger = new ResourceBench(bench);
    const ids = ["e", "a", "d", "b", "c"];
    await ledger.madeAll(ids);
    const seen: string[] = [];
    let cursor: string | undefined;
    for (let page = 0; page < 4; page += 1) {
      const answer = await ledger.changes(cursor, 2);
      assertAtMost(answer.rows.length, 2, "the number of rows of a page of 2");
      seen.push(...answer.rows.map(({ id }) => id));
      cursor = answer.cursor;
    }
    assert.deepEqual(seen, ids);
  },

  "tells a row again that was written between two pages": async (bench) => {
    const ledger = new ResourceBench(bench);
    const [a] = await ledger.madeAll(["a", "b", "c"]);
    assertThere(a, "the first row");
    const first = await ledger.changes(undefined, 2);
    await ledger.changed(a, { state: "FAILED" });
    const second = await ledger.changes(first.cursor, 9);
    assert.deepEqual(
      second.rows.map(({ id, state }) => `${id} ${state}`),
      ["c PENDING", "a FAILED"],
    );
  },

  "goes on after a purge, also of the row at the cursor": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.made({ id: "a" });
    await ledger.made({ id: "b", state: "TERMINATED" });
    const { cursor } = await ledger.changes();
    await bench.advance(SILENCE_MS);
    assert.deepEqual(await ledger.purge(), { purged: 1 });
    assert.deepEqual(await ledger.changes(cursor), { rows: [], cursor, reset: false });
    await ledger.made({ id: "c" });
    const next = await ledger.changes(cursor);
    assert.deepEqual([next.rows.map(({ id }) => id), next.reset], [["c"], false]);
  },

  "begins again, and says so, where a cursor is not of this group's ledger": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.madeAll(["a", "b"]);
    await ledger.applied(ledger.creation(), { group: "others" });
    const foreign = await ledger.resources.changedSince({ group: "others", limit: 9 }, bench.call);
    const { cursor } = await ledger.changes();
    const odd = [foreign.cursor, "", "a", "1:", ":1", "1:x", "x:1", `${cursor}0`, `${cursor}.5`, "'; --", "1:-1"];
    for (const stranger of odd) {
      const { rows, reset, cursor: next } = await ledger.changes(stranger);
      assert.deepEqual(
        [rows.map(({ id }) => id), reset],
        [["a", "b"], true],
        `"${stranger}" is no cursor of the group`,
      );
      assert.equal(next, cursor);
    }
    const gone = await ledger.resources.changedSince({ group: "nobody's", cursor, limit: 9 }, bench.call);
    assert.deepEqual([gone.rows, gone.reset], [[], true]);
  },

  "misses no write of many that write at once": async (bench) => {
    const ledger = new ResourceBench(bench);
    const seen = new Map<string, number>();
    let cursor: string | undefined;
    const poll = async (): Promise<void> => {
      for (let page = 0; ; page += 1) {
        assert.ok(page < 100, "the changes come to an end");
        const answer = await ledger.changes(cursor, 7);
        assert.equal(answer.reset, false);
        cursor = answer.cursor;
        for (const { id, version } of answer.rows) {
          assert.ok(version >= (seen.get(id) ?? 0), "a row does not go back");
          seen.set(id, version);
        }
        if (answer.rows.length < 7) return;
      }
    };
    let writing = true;
    const read = async (): Promise<void> => {
      while (writing) {
        await poll();
        // An embedded store reads without giving the event loop its turn, and the writers need it.
        await turnOfEventLoop();
      }
    };
    const writers = Promise.all(Array.from({ length: 8 }, (_, writer) => write(ledger, `writer ${writer}`)));
    const written = writers.finally(() => {
      writing = false;
    });
    await Promise.all([read(), written]);
    await poll();
    const rows = await ledger.list();
    assert.equal(rows.length, 24);
    for (const { id, version } of rows) assert.equal(seen.get(id), version, "the last write of each row was seen");
  },
};

/** Three rows, each with three writes, one after the other. */
async function write(ledger: ResourceBench, name: string): Promise<void> {
  for (let index = 0; index < 3; index += 1) {
    let row = await ledger.made({ id: `${name}, row ${index}` });
    row = await ledger.changed(row, { state: "PROVISIONED" });
    await ledger.changed(row, { state: "FAILED" });
  }
}
