import { strict as assert } from "node:assert";
import { assertAbove, assertAtLeast, assertLacks, assertStatus, assertThere } from "./assertions.ts";
import type { ConformanceCases } from "./bench.ts";
import { nameOf, ResourceBench, timeless } from "./resource-bench.ts";

const LEASE_MS = 600_000;

/** {@link ResourceStore.apply}: creations, compare-and-swaps and leases. */
export const resourceCases: ConformanceCases = {
  "knows nothing of a resource that never was": async (bench) => {
    const ledger = new ResourceBench(bench);
    assert.equal(await ledger.get(), undefined);
    assert.deepEqual(await ledger.list(), []);
  },

  "creates a row with all that was asked, and reads it back": async (bench) => {
    const ledger = new ResourceBench(bench);
    const asked = { spec: '{"size":2}', externalId: "i-0abc", generation: 3, reason: "scale up", attempt: 2 };
    const row = await ledger.made(asked);
    assert.deepEqual({ ...row, ...asked }, row);
    const { group, id, incarnation, state, version, fencingToken } = row;
    assert.deepEqual(
      { group, id, incarnation, state, version, fencingToken },
      { group: "workers", id: "web-1", incarnation: 1, state: "PENDING", version: 1, fencingToken: 0 },
    );
    assert.deepEqual(timeless(await ledger.get()), timeless(row));
  },

  "leaves out of a row what a write leaves out": async (bench) => {
    const ledger = new ResourceBench(bench);
    const row = await ledger.made({ spec: "s", externalId: "e", reason: "r" });
    const { spec: _spec, externalId: _externalId, reason: _reason, ...bare } = ledger.updateOf(row);
    const after = await ledger.applied(bare);
    for (const name of ["spec", "externalId", "reason", "leaseExpiresAt", "lastHeartbeatAt"] as const) {
      assert.ok(!(name in after), `${name} is not there at all`);
    }
    assert.deepEqual(timeless(await ledger.get()), timeless(after));
  },

  "tells empty texts from none": async (bench) => {
    const ledger = new ResourceBench(bench);
    const { spec, externalId, reason } = await ledger.made({ spec: "", externalId: "", reason: "" });
    assert.deepEqual([spec, externalId, reason], ["", "", ""]);
  },

  "does not create over an incarnation that the writer did not know": async (bench) => {
    const ledger = new ResourceBench(bench);
    const row = await ledger.made({ state: "TERMINATED" });
    assert.deepEqual(timeless(await ledger.conflicting(ledger.creation())), timeless(row));
    assert.equal(await ledger.conflicting(ledger.creation({ id: "web-2", after: 1 })), undefined);
    assert.deepEqual(await ledger.listed(), ["web-1/1"]);
  },

  "creates the next incarnation beside the one before it": async (bench) => {
    const ledger = new ResourceBench(bench);
    const old = await ledger.made({ state: "PROVISIONED" });
    const next = await ledger.made({ after: 1 });
    assert.equal(next.incarnation, 2);
    assert.deepEqual(await ledger.listed(), ["web-1/1", "web-1/2"]);
    assert.equal((await ledger.get())?.incarnation, 2);
    assert.equal((await ledger.changed(old, { state: "TERMINATING" })).incarnation, 1);
  },

  "applies an update to the version that was read, and to no other": async (bench) => {
    const ledger = new ResourceBench(bench);
    const row = await ledger.made();
    const after = await ledger.changed(row, { state: "PROVISIONED" });
    assert.equal(after.version, 2);
    const late = await ledger.conflicting(ledger.updateOf(row, { state: "FAILED" }));
    assert.deepEqual(timeless(late), timeless(after));
    await ledger.conflicting(ledger.updateOf(after, { expectedVersion: 3 }));
    assert.deepEqual(timeless(await ledger.get()), timeless(after));
  },

  "finds nothing in the way of an update whose row is not there": async (bench) => {
    const ledger = new ResourceBench(bench);
    const row = await ledger.made();
    assert.equal(await ledger.conflicting(ledger.updateOf(row, { incarnation: 2 })), undefined);
    assert.equal(await ledger.conflicting(ledger.updateOf(row, { id: "web-2" })), undefined);
  },

  "answers a creation that comes again like the first time": async (bench) => {
    const ledger = new ResourceBench(bench);
    const creation = ledger.creation({ lease: { durationMs: LEASE_MS, token: "grant" } });
    const row = await ledger.applied(creation);
    await bench.advance(1_000);
    assert.deepEqual(timeless(await ledger.applied(creation)), timeless(row));
    assert.deepEqual(await ledger.listed(), ["web-1/1"]);
  },

  "answers an update that comes again like the first time": async (bench) => {
    const ledger = new ResourceBench(bench);
    const row = await ledger.made();
    const update = ledger.updateOf(row, { state: "PROVISIONED", lease: { durationMs: LEASE_MS, token: "grant" } });
    const after = await ledger.applied(update);
    await bench.advance(1_000);
    assert.deepEqual(timeless(await ledger.applied(update)), timeless(after));
    assert.equal((await ledger.get())?.version, 2);
  },

  "knows a write again though a heartbeat came in between": async (bench) => {
    const ledger = new ResourceBench(bench);
    const row = await ledger.made({ state: "PROVISIONED" });
    await bench.advance(1_000);
    const update = ledger.updateOf(row, { state: "FAILED", ifSilentForMs: 500 });
    await ledger.applied(update);
    await ledger.beat();
    assert.equal((await ledger.applied(update)).version, 2);

    const creation = ledger.creation({ id: "web-2" });
    await ledger.applied(creation);
    await ledger.beat("web-2");
    assert.equal((await ledger.applied(creation)).version, 1);
  },

  "does not take a repetition for a success once others have written": async (bench) => {
    const ledger = new ResourceBench(bench);
    const creation = ledger.creation();
    const row = await ledger.applied(creation);
    const update = ledger.updateOf(row);
    const after = await ledger.changed(await ledger.applied(update), { state: "TERMINATED" });
    assert.deepEqual(timeless(await ledger.conflicting(update)), timeless(after));
    assert.deepEqual(timeless(await ledger.conflicting(creation)), timeless(after));
    const next = await ledger.made({ after: 1 });
    assert.deepEqual(timeless(await ledger.conflicting(creation)), timeless(next));
  },

  "does not take another's write of the same version for its own": async (bench) => {
    const ledger = new ResourceBench(bench);
    const row = await ledger.made();
    await ledger.changed(row, { state: "PROVISIONED" });
    await ledger.conflicting(ledger.updateOf(row, { state: "PROVISIONED" }));
    await ledger.conflicting(ledger.creation());
  },

  "decides each write of a batch on its own, and answers in order": async (bench) => {
    const ledger = new ResourceBench(bench);
    const row = await ledger.made();
    const answers = await ledger.decided([
      ledger.creation({ id: "web-3" }),
      ledger.creation(),
      ledger.updateOf(row, { expectedVersion: 9 }),
      ledger.updateOf(row, { state: "PROVISIONED" }),
      ledger.creation({ id: "web-2" }),
    ]);
    assert.deepEqual(
      answers.map(({ status, row: stands }) => `${status} ${stands?.id} ${stands?.version}`),
      ["applied web-3 1", "conflict web-1 1", "conflict web-1 1", "applied web-1 2", "applied web-2 1"],
    );
    assert.deepEqual(await ledger.listed(), ["web-1/1", "web-2/1", "web-3/1"]);
  },

  "lets a write of a batch see those before it": async (bench) => {
    const ledger = new ResourceBench(bench);
    const row = await ledger.made();
    const [first, second, third, fourth] = await ledger.decided([
      ledger.updateOf(row, { state: "PROVISIONED" }),
      ledger.updateOf(row, { state: "FAILED" }),
      ledger.updateOf(row, { expectedVersion: 2, state: "TERMINATED" }),
      ledger.creation({ after: 1 }),
    ]);
    assert.deepEqual(
      [first, second, third, fourth].map((answer) => answer?.status),
      ["applied", "conflict", "applied", "applied"],
    );
    assert.ok(first?.status === "applied" && first.row.state === "PROVISIONED", "a row as it was after its own write");
    assertThere(fourth, "the result of the fourth write");
    assertStatus(fourth, "applied", "the fourth write of the batch");
    assert.equal(nameOf(fourth.row), "web-1/2");
  },

  "takes a batch of a thousand": async (bench) => {
    const ledger = new ResourceBench(bench);
    const ids = Array.from({ length: 1_000 }, (_, index) => `web-${String(index).padStart(4, "0")}`);
    const rows = await ledger.madeAll(ids);
    const answers = await ledger.decided(rows.map((row) => ledger.updateOf(row, { state: "PROVISIONED" })));
    for (const answer of answers) assertStatus(answer, "applied", "a write of the batch");
    const listed = await ledger.list({ states: ["PROVISIONED"], limit: 2_000 });
    assert.deepEqual(
      listed.map(({ id }) => id),
      ids,
    );
  },

  "takes an empty batch": async (bench) => {
    const ledger = new ResourceBench(bench);
    assert.deepEqual(await ledger.decided([]), []);
  },

  "lets one of many creations of an id win": async (bench) => {
    const ledger = new ResourceBench(bench);
    const answers = await Promise.all(Array.from({ length: 32 }, () => ledger.decided([ledger.creation()])));
    const won = answers.filter(([answer]) => answer?.status === "applied");
    assert.equal(won.length, 1);
    for (const [answer] of answers) assert.deepEqual(timeless(answer?.row), timeless(won[0]?.[0]?.row));
  },

  "lets one of several updates of a version win": async (bench) => {
    const ledger = new ResourceBench(bench);
    const row = await ledger.made();
    const updates = Array.from({ length: 8 }, (_, index) => ledger.updateOf(row, { reason: `writer ${index}` }));
    const answers = (await Promise.all(updates.map((update) => ledger.decided([update])))).flat();
    assert.equal(answers.filter(({ status }) => status === "applied").length, 1);
    const after = await ledger.get();
    assert.equal(after?.version, 2);
    for (const answer of answers) assert.equal(answer.row?.reason, after?.reason);
  },

  "keeps times by its own clock, each with its meaning": async (bench) => {
    const ledger = new ResourceBench(bench);
    const made = await ledger.made();
    assert.equal(made.stateChangedAt, made.createdAt);
    assertAtLeast(made.readAt, made.createdAt, "readAt");
    assertLacks(made, "provisionedAt", "a PENDING row");
    assertLacks(made, "terminatedAt", "a PENDING row");
    await bench.advance(1_000);
    const again = await ledger.changed(made, { reason: "still at it" });
    assert.equal(again.stateChangedAt, made.stateChangedAt);
    await bench.advance(1_000);
    const provisioned = await ledger.changed(again, { state: "PROVISIONED" });
    assertAtLeast(provisioned.stateChangedAt, made.createdAt + 2_000, "stateChangedAt");
    assert.equal(provisioned.provisionedAt, provisioned.stateChangedAt);
    await bench.advance(1_000);
    const terminated = await ledger.changed(provisioned, { state: "TERMINATED" });
    assert.equal(terminated.provisionedAt, provisioned.provisionedAt);
    assert.equal(terminated.terminatedAt, terminated.stateChangedAt);
    assertAtLeast(terminated.stateChangedAt, provisioned.stateChangedAt + 1_000, "stateChangedAt");
    assert.equal(terminated.createdAt, made.createdAt);
    const times = [terminated.createdAt, terminated.stateChangedAt, terminated.readAt];
    assert.ok(times.every(Number.isSafeInteger), "whole milliseconds");
  },

  "stamps a row that is created as what it is": async (bench) => {
    const ledger = new ResourceBench(bench);
    const provisioned = await ledger.made({ state: "PROVISIONED" });
    assert.equal(provisioned.provisionedAt, provisioned.createdAt);
    const terminated = await ledger.made({ id: "web-2", state: "TERMINATED" });
    assert.equal(terminated.terminatedAt, terminated.createdAt);
  },

  "tells when it read a row": async (bench) => {
    const ledger = new ResourceBench(bench);
    const { readAt } = await ledger.made();
    await bench.advance(5_000);
    const later = [await ledger.get(), (await ledger.list())[0], (await ledger.changes()).rows[0]];
    for (const row of later) {
      assertThere(row, "the row");
      assertAtLeast(row.readAt, readAt + 5_000, "readAt");
    }
  },

  "grants a lease from now on, with a token above all before it": async (bench) => {
    const ledger = new ResourceBench(bench);
    const lease = { durationMs: LEASE_MS, token: "grant" } as const;
    const first = await ledger.made({ lease });
    assertAbove(first.fencingToken, 0, "the first fencingToken");
    bench.assertMs((first.leaseExpiresAt ?? 0) - first.readAt, LEASE_MS);
    await bench.advance(1_000);
    const second = await ledger.changed(first, { lease });
    assertAbove(second.fencingToken, first.fencingToken, "the second fencingToken");
    assert.equal(second.leaseExpiresAt, second.readAt + LEASE_MS);
    const other = await ledger.made({ id: "web-2", lease });
    assertAbove(other.fencingToken, second.fencingToken, "the fencingToken of the other row");
  },

  "renews a lease and keeps its token, or ends it and keeps its token": async (bench) => {
    const ledger = new ResourceBench(bench);
    const granted = await ledger.made({ lease: { durationMs: LEASE_MS, token: "grant" } });
    await bench.advance(1_000);
    const renewed = await ledger.changed(granted, { lease: { durationMs: LEASE_MS, token: "keep" } });
    assert.equal(renewed.fencingToken, granted.fencingToken);
    assertAtLeast(renewed.leaseExpiresAt, (granted.leaseExpiresAt ?? 0) + 1_000, "leaseExpiresAt");
    const ended = await ledger.changed(renewed);
    assert.equal(ended.fencingToken, granted.fencingToken);
    assertLacks(ended, "leaseExpiresAt", "a row whose lease was ended");
  },

  "tells the end of a lease also when it has passed": async (bench) => {
    const ledger = new ResourceBench(bench);
    const { leaseExpiresAt } = await ledger.made({ lease: { durationMs: 1_000, token: "grant" } });
    await bench.advance(2_000);
    const row = await ledger.get();
    assert.equal(row?.leaseExpiresAt, leaseExpiresAt);
    assertAtLeast(row?.readAt, leaseExpiresAt ?? 0, "readAt");
  },

  "keeps rows of one id in two groups apart": async (bench) => {
    const ledger = new ResourceBench(bench);
    const ours = await ledger.made();
    const theirs = await ledger.applied(ledger.creation({ state: "FAILED" }), { group: "others" });
    assert.deepEqual([theirs.group, theirs.incarnation], ["others", 1]);
    assert.deepEqual(timeless(await ledger.get()), timeless(ours));
    assert.equal(await ledger.conflicting(ledger.updateOf(ours), { group: "nobody's" }), undefined);
  },

  "holds nothing that its callers can reach": async (bench) => {
    const ledger = new ResourceBench(bench);
    const lease = { durationMs: LEASE_MS, token: "grant" as "grant" | "keep" };
    const write = { ...ledger.creation({ spec: "as asked" }), lease };
    const writes = [write];
    const answer = ledger.apply(writes);
    write.spec = "changed on the way";
    write.id = "web-2";
    lease.durationMs = 1;
    writes.length = 0;
    const decided = await answer;
    assertStatus(decided, "decided", "apply");
    const [result] = decided.results;
    assertStatus(result, "applied", "the write");
    const row: { spec?: string } = result.row;
    assert.equal(row.spec, "as asked");
    row.spec = "changed afterwards";
    const kept = await ledger.get();
    assert.equal(kept?.spec, "as asked");
    assertAbove(kept?.leaseExpiresAt, (kept?.createdAt ?? 0) + 1, "leaseExpiresAt");

    const beats = [{ id: "web-1" }];
    const beaten = ledger.resources.heartbeat({ group: ledger.group, beats }, bench.call);
    beats.length = 0;
    assert.deepEqual(await beaten, [{ status: "accepted" }]);
  },
};
