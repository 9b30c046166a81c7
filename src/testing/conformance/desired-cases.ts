import { strict as assert } from "node:assert";
import type { ConformanceCases } from "./bench.ts";
import { ResourceBench, timeless } from "./resource-bench.ts";

/** {@link ResourceStore.setDesired} and the epochs of a group. */
export const desiredCases: ConformanceCases = {
  "desires nothing at first": async (bench) => {
    assert.deepEqual(await new ResourceBench(bench).desired(), { generation: 0, epoch: 0 });
  },

  "raises the generation with each change of what is desired": async (bench) => {
    const ledger = new ResourceBench(bench);
    assert.deepEqual(await ledger.desire("10"), { status: "set", generation: 1 });
    assert.deepEqual(await ledger.desire("5"), { status: "set", generation: 2 });
    assert.deepEqual(await ledger.desire("10"), { status: "set", generation: 3 });
    assert.deepEqual(await ledger.desired(), { generation: 3, desired: "10", epoch: 0 });
  },

  "leaves the generation when the same is desired again": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.desire("10");
    assert.deepEqual(await ledger.desire("10"), { status: "set", generation: 1 });
    assert.deepEqual(await ledger.desired(), { generation: 1, desired: "10", epoch: 0 });
  },

  "answers the same nonce like the first time": async (bench) => {
    const ledger = new ResourceBench(bench);
    const request = { group: ledger.group, epoch: 0, nonce: bench.nonce(), desired: "10" };
    assert.deepEqual(await ledger.resources.setDesired(request, bench.call), { status: "set", generation: 1 });
    assert.deepEqual(await ledger.resources.setDesired(request, bench.call), { status: "set", generation: 1 });
  },

  "takes an empty text for something desired": async (bench) => {
    const ledger = new ResourceBench(bench);
    assert.deepEqual(await ledger.desire(""), { status: "set", generation: 1 });
    assert.deepEqual(await ledger.desired(), { generation: 1, desired: "", epoch: 0 });
  },

  "gives each of many that desire at once a generation of its own": async (bench) => {
    const ledger = new ResourceBench(bench);
    const answers = await Promise.all(Array.from({ length: 16 }, (_, index) => ledger.desire(`${index}`)));
    const generations = answers.map((answer) => (answer.status === "set" ? answer.generation : 0));
    assert.deepEqual(
      generations.sort((a, b) => a - b),
      Array.from({ length: 16 }, (_, index) => index + 1),
    );
    assert.equal((await ledger.desired()).generation, 16);
  },

  "desires something if the generation is still the one that is meant": async (bench) => {
    const ledger = new ResourceBench(bench);
    assert.deepEqual(await ledger.desireIf(0, "1"), { status: "set", generation: 1 });
    assert.deepEqual(await ledger.desireIf(1, "2"), { status: "set", generation: 2 });
    assert.deepEqual(await ledger.desireIf(2, "2"), { status: "set", generation: 2 });
    assert.deepEqual(await ledger.desired(), { generation: 2, desired: "2", epoch: 0 });
  },

  "changes nothing if the generation is another one": async (bench) => {
    const ledger = new ResourceBench(bench);
    assert.deepEqual(await ledger.desireIf(3, "1"), { status: "conflict", generation: 0 });
    await ledger.desire("1");
    await ledger.desire("2");
    for (const other of [0, 1, 3])
      assert.deepEqual(await ledger.desireIf(other, "3"), { status: "conflict", generation: 2 });
    assert.deepEqual(await ledger.desired(), { generation: 2, desired: "2", epoch: 0 });
  },

  "does not take the same text for the same wish": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.desireIf(0, "one more than 0");
    assert.deepEqual(await ledger.desireIf(0, "one more than 0"), { status: "conflict", generation: 1 });
  },

  "lets one of 16 have its wish that mean the same generation": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.desire("0");
    const answers = await Promise.all(Array.from({ length: 16 }, () => ledger.desireIf(1, "one more than 0")));
    assert.equal(answers.filter(({ status }) => status === "set").length, 1);
    assert.equal((await ledger.desired()).generation, 2);
  },

  "answers the same nonce as set, also one generation later": async (bench) => {
    const ledger = new ResourceBench(bench);
    const nonce = bench.nonce();
    assert.deepEqual(await ledger.desireIf(0, "1", { nonce }), { status: "set", generation: 1 });
    await ledger.decided([ledger.creation()], { status: "progressing" });
    assert.deepEqual(await ledger.desireIf(0, "1", { nonce }), { status: "set", generation: 1 });
    await ledger.desire("2");
    assert.deepEqual(await ledger.desireIf(0, "1", { nonce }), { status: "conflict", generation: 2 });
    assert.equal((await ledger.desired()).desired, "2");
  },

  "keeps a higher epoch though the generation is another one": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.desire("1", 1);
    assert.deepEqual(await ledger.desireIf(7, "2", { epoch: 5 }), { status: "conflict", generation: 1 });
    assert.deepEqual(await ledger.desired(), { generation: 1, desired: "1", epoch: 5 });
    assert.deepEqual(await ledger.desireIf(1, "2", { epoch: 4 }), { status: "fenced", epoch: 5 });
  },

  "keeps the status beside what is desired, and leaves it where none comes": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.decided([], { status: "progressing" });
    assert.deepEqual(await ledger.desired(), { generation: 0, status: "progressing", epoch: 0 });
    await ledger.desire("10");
    await ledger.decided([ledger.creation()]);
    assert.deepEqual(await ledger.desired(), { generation: 1, desired: "10", status: "progressing", epoch: 0 });
    await ledger.conflicting(ledger.creation(), { status: "" });
    assert.equal((await ledger.desired()).status, "");
  },

  "fences writes with an epoch below the highest": async (bench) => {
    const ledger = new ResourceBench(bench);
    const row = await ledger.applied(ledger.creation(), { epoch: 7 });
    const writes = [ledger.updateOf(row, { state: "FAILED" }), ledger.creation({ id: "web-2" })];
    assert.deepEqual(await ledger.apply(writes, { epoch: 6, status: "stale" }), { status: "fenced", epoch: 7 });
    assert.deepEqual(await ledger.desire("10", 6), { status: "fenced", epoch: 7 });
    assert.deepEqual((await ledger.list()).map(timeless), [timeless(row)]);
    assert.deepEqual(await ledger.desired(), { generation: 0, epoch: 7 });
    assert.deepEqual(await ledger.apply([]), { status: "fenced", epoch: 7 });
    assert.equal((await ledger.decided(writes, { epoch: 7 })).filter(({ status }) => status === "applied").length, 2);
  },

  "fences what it would have known again": async (bench) => {
    const ledger = new ResourceBench(bench);
    const creation = ledger.creation();
    await ledger.applied(creation, { epoch: 1 });
    await ledger.decided([], { epoch: 2 });
    assert.deepEqual(await ledger.apply([creation], { epoch: 1 }), { status: "fenced", epoch: 2 });
  },

  "keeps a higher epoch though nothing of its batch applies": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.made();
    await ledger.conflicting(ledger.creation(), { epoch: 3 });
    assert.equal((await ledger.desired()).epoch, 3);
    await ledger.decided([], { epoch: 4 });
    assert.deepEqual(await ledger.apply([], { epoch: 3 }), { status: "fenced", epoch: 4 });
  },

  "keeps a higher epoch though the same is desired as before": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.desire("10", 1);
    assert.deepEqual(await ledger.desire("10", 5), { status: "set", generation: 1 });
    assert.equal((await ledger.desired()).epoch, 5);
    assert.deepEqual(await ledger.desire("10", 4), { status: "fenced", epoch: 5 });
  },

  "lets an epoch of one group be nothing to another": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.applied(ledger.creation(), { epoch: 9 });
    await ledger.applied(ledger.creation(), { group: "others", epoch: 1 });
    assert.equal((await ledger.desired("others")).epoch, 1);
    assert.equal((await ledger.desired()).epoch, 9);
  },

  "takes an epoch as large as a whole number can be": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.desire("10", Number.MAX_SAFE_INTEGER);
    assert.deepEqual(await ledger.desire("5", Number.MAX_SAFE_INTEGER - 1), {
      status: "fenced",
      epoch: Number.MAX_SAFE_INTEGER,
    });
  },

  "tells the names of the groups that were written, in order and in pages": async (bench) => {
    const ledger = new ResourceBench(bench);
    const { resources } = ledger;
    await ledger.desired("read");
    await resources.heartbeat({ group: "beaten", beats: [{ id: "web-1" }] }, bench.call);
    assert.deepEqual(await resources.listGroups({ limit: 10 }, bench.call), []);
    for (const group of ["b", "\u{1f980}", "a", "\uffee"]) await ledger.desire("1", 0, group);
    await ledger.decided([ledger.creation()], { group: "B" });
    const all = ["B", "a", "b", "\uffee", "\u{1f980}"];
    assert.deepEqual(await resources.listGroups({ limit: 10 }, bench.call), all);
    assert.deepEqual(await resources.listGroups({ limit: 2 }, bench.call), all.slice(0, 2));
    assert.deepEqual(await resources.listGroups({ limit: 2, after: "a" }, bench.call), all.slice(2, 4));
    assert.deepEqual(await resources.listGroups({ limit: 9, after: "aa" }, bench.call), all.slice(2));
  },
};
