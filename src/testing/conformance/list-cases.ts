import { strict as assert } from "node:assert";
import type { ListExecutionsRequest } from "../../store.ts";
import { assertAtLeast, assertAtMost, assertStatus } from "./assertions.ts";
import type { Bench, ConformanceCases } from "./bench.ts";

/** {@link ExecutionStore.list} and {@link ExecutionStore.get}: what readers see. */
export const listCases: ConformanceCases = {
  "reads nothing of a record that never was": async (bench) => {
    assert.equal(await bench.get(), undefined);
    assert.deepEqual(await bench.executions.list({ limit: 10 }, bench.call), []);
  },

  "reads a running record with all that it was claimed with": async (bench) => {
    const { claim } = await bench.hold();
    await bench.advance(1_000);
    const view = await bench.get();
    assertStatus(view, "running", "get");
    assert.equal(view.id, bench.id());
    assert.equal(view.operation, "charge");
    assert.equal(view.scope, "tenant");
    assert.equal(view.fingerprint, bench.fingerprint("payload"));
    assert.equal(view.attempt, 1);
    assert.equal(view.token, claim.token);
    bench.assertMs(view.leaseRemainingMs, bench.leaseMs - 1_000);
    bench.assertMs(view.expiresInMs, bench.leaseMs + bench.retentionMs - 1_000);
  },

  "reads a record as abandoned from the very end of its lease": async (bench) => {
    await bench.hold();
    await bench.advanceAlmost(bench.leaseMs);
    assert.equal((await bench.get())?.status, "running");
    await bench.advance(bench.leaseMs);
    const view = await bench.get();
    assertStatus(view, "abandoned", "get");
    assert.equal(view.leaseExpiredAt, view.createdAt + bench.leaseMs);
    assert.equal(view.retryGranted, false);
  },

  "keeps the moment of creation over takeovers and renewals": async (bench) => {
    const { holder } = await bench.hold();
    const createdAt = (await bench.get())?.createdAt;
    await bench.advance(1_000);
    await bench.renew(holder);
    await bench.advance(bench.leaseMs);
    await bench.hold();
    assert.equal((await bench.get())?.createdAt, createdAt);
  },

  "reads the retention that was asked for, however much of it is left": async (bench) => {
    await bench.hold({ retentionMs: 2 * bench.retentionMs });
    await bench.advance(1_000);
    assert.equal((await bench.get())?.retentionMs, 2 * bench.retentionMs);
  },

  "reads a record that was claimed anew after its end as created then": async (bench) => {
    const { holder } = await bench.hold();
    const before = (await bench.get())?.createdAt ?? 0;
    await bench.forget(holder);
    await bench.advance(1_000);
    await bench.hold();
    assertAtLeast((await bench.get())?.createdAt, before + 1_000, "createdAt of the second record");
  },

  "lists all in the order of their ids": async (bench) => {
    const ids = await several(bench);
    assert.deepEqual(await listed(bench, { limit: 100 }), [...ids.all].sort());
  },

  "lists those of one operation": async (bench) => {
    const ids = await several(bench);
    assert.deepEqual(await listed(bench, { operation: "refund", limit: 100 }), [...ids.refunds].sort());
    assert.deepEqual(await listed(bench, { operation: "nobody's", limit: 100 }), []);
  },

  "takes an operation's name literally": async (bench) => {
    await bench.hold({ operation: "Charge" });
    for (const operation of ["charge", "Char%", "Char_e", "Charge ", "%", "*", ""]) {
      assert.deepEqual(await listed(bench, { operation, limit: 100 }), [], `"${operation}" finds nothing`);
    }
    assert.equal((await listed(bench, { operation: "Charge", limit: 100 })).length, 1);
  },

  "lists those of one status": async (bench) => {
    const ids = await several(bench);
    assert.deepEqual(await listed(bench, { status: "running", limit: 100 }), [...ids.running].sort());
    assert.deepEqual(await listed(bench, { status: "completed", limit: 100 }), [...ids.completed].sort());
    assert.deepEqual(await listed(bench, { status: "abandoned", limit: 100 }), [...ids.abandoned].sort());
  },

  "lists those of one operation and one status": async (bench) => {
    const ids = await several(bench);
    const both = ids.refunds.filter((id) => ids.completed.includes(id)).sort();
    assert.deepEqual(await listed(bench, { operation: "refund", status: "completed", limit: 100 }), both);
  },

  "lists each record once, page by page": async (bench) => {
    const ids = await several(bench);
    const seen: string[] = [];
    for (let after: string | undefined; ; after = seen.at(-1)) {
      const page = await listed(bench, { limit: 4, ...(after === undefined ? {} : { after }) });
      assertAtMost(page.length, 4, "the number of records of a page of 4");
      seen.push(...page);
      if (page.length < 4) break;
    }
    assert.deepEqual(seen, [...ids.all].sort());
  },

  "begins after an id whose record is not there": async (bench) => {
    const ids = [...(await several(bench)).all].sort();
    const after = `${ids[3]?.slice(0, -1)}g`;
    assert.deepEqual(await listed(bench, { limit: 100, after }), ids.slice(4));
    assert.deepEqual(await listed(bench, { limit: 100, after: "g".repeat(64) }), []);
  },

  "fills a page with what the filters let through": async (bench) => {
    const ids = await several(bench);
    for (const status of ["running", "completed", "abandoned"] as const) {
      const seen: string[] = [];
      for (let turn = 0; turn < 3; turn += 1) {
        const after = seen.at(-1);
        seen.push(...(await listed(bench, { status, limit: 1, ...(after === undefined ? {} : { after }) })));
      }
      assert.deepEqual(seen, [...ids[status]].sort());
    }
    const refunds = await listed(bench, { operation: "refund", limit: 4 });
    assert.deepEqual(refunds, [...ids.refunds].sort());
  },

  "lists the same that it reads one by one": async (bench) => {
    const ids = await several(bench);
    for (const view of await bench.executions.list({ limit: 100 }, bench.call))
      await bench.assertUnchanged(view, view.id);
    assert.equal(ids.all.length, 9);
  },

  "lists a record that was given up for a retry as abandoned": async (bench) => {
    const { holder } = await bench.hold();
    await bench.grantRetry(holder);
    const [view] = await bench.executions.list({ status: "abandoned", limit: 1 }, bench.call);
    assertStatus(view, "abandoned", "list");
    assert.equal(view.retryGranted, true);
  },

  "lists no record that has expired": async (bench) => {
    await bench.hold({ id: bench.id("short"), leaseMs: 1_000, retentionMs: 1_000 });
    await bench.hold({ id: bench.id("long") });
    await bench.advance(2_000);
    assert.deepEqual(await listed(bench, { limit: 100 }), [bench.id("long")]);
    assert.deepEqual(await listed(bench, { status: "abandoned", limit: 100 }), []);
  },
};

/** Nine records: three of each status, every third of them a refund. */
async function several(bench: Bench) {
  const ids = { all: [] as string[], refunds: [] as string[], running: [] as string[], completed: [] as string[] };
  const abandoned: string[] = [];
  for (let index = 0; index < 9; index += 1) {
    const id = bench.id(`record ${index}`);
    const operation = index % 2 === 0 ? "charge" : "refund";
    const status = (["running", "completed", "abandoned"] as const)[index % 3];
    const { holder } = await bench.hold({ id, operation, leaseMs: status === "abandoned" ? 1_000 : bench.leaseMs });
    if (status === "completed") await bench.complete(holder);
    ids.all.push(id);
    if (operation === "refund") ids.refunds.push(id);
    if (status === "running") ids.running.push(id);
    else if (status === "completed") ids.completed.push(id);
    else abandoned.push(id);
  }
  await bench.advance(1_000);
  return { ...ids, abandoned };
}

async function listed(bench: Bench, request: ListExecutionsRequest): Promise<string[]> {
  return (await bench.executions.list(request, bench.call)).map(({ id }) => id);
}
