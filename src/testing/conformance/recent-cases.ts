import { strict as assert } from "node:assert";
import type { RecentExecutionsRequest } from "../../store.ts";
import type { Bench, ConformanceCases } from "./bench.ts";

/** {@link ExecutionStore.recent}. All records of a case have one retention: then no store may be wrong about the order. */
export const recentCases: ConformanceCases = {
  "sees nothing where there is nothing": async (bench) => {
    assert.deepEqual(await recent(bench, { limit: 10 }), []);
  },

  "sees the newest first": async (bench) => {
    const ids = await several(bench, 5);
    assert.deepEqual(await recent(bench, { limit: 10 }), ids.reverse());
  },

  "sees no more than it is asked for, and of all the newest": async (bench) => {
    const ids = await several(bench, 7);
    assert.deepEqual(await recent(bench, { limit: 3 }), ids.reverse().slice(0, 3));
    assert.deepEqual(await recent(bench, { limit: 1 }), ids.slice(0, 1));
  },

  "sees those of one moment in the order of their ids": async (bench) => {
    for (let index = 0; index < 6; index += 1) await bench.hold({ id: bench.id(`record ${index}`) });
    const views = await bench.executions.recent({ limit: 10 }, bench.call);
    const inOrder = views.toSorted((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? -1 : 1));
    assert.deepEqual(idsOf(views), idsOf(inOrder));
    assert.equal(views.length, 6);
  },

  "sees those of one operation, taken literally": async (bench) => {
    const charges = await several(bench, 2, "charge");
    const refunds = await several(bench, 3, "refund");
    assert.deepEqual(await recent(bench, { operation: "charge", limit: 10 }), charges.reverse());
    assert.deepEqual(await recent(bench, { operation: "refund", limit: 2 }), refunds.reverse().slice(0, 2));
    for (const operation of ["Charge", "char%", "charg_", "charge ", "*", ""])
      assert.deepEqual(await recent(bench, { operation, limit: 10 }), [], `"${operation}" finds nothing`);
  },

  "sees those of one operation behind many of another": async (bench) => {
    const [refund] = await several(bench, 1, "refund");
    await Promise.all(Array.from({ length: 40 }, (_, index) => bench.hold({ id: bench.id(`charge ${index}`) })));
    assert.deepEqual(await recent(bench, { operation: "refund", limit: 2 }), [refund]);
  },

  "leaves a record in its place, whatever becomes of it": async (bench) => {
    const ids = await several(bench, 4);
    const holders = await Promise.all(ids.map(async (id) => ({ id, token: (await bench.get(id))?.token ?? 0 })));
    for (const { id, token } of holders.slice(0, 2)) {
      const { holder } = await bench.seize(token, { id });
      await bench.advance(1_000);
      await bench.complete(holder);
    }
    await bench.advance(bench.leaseMs);
    await bench.hold({ id: ids[2] as string });
    assert.deepEqual(await recent(bench, { limit: 10 }), ids.reverse());
  },

  "sees a record that was claimed anew after its end as new": async (bench) => {
    const [first, second] = await several(bench, 2);
    const token = (await bench.get(first))?.token ?? 0;
    await bench.forget((await bench.seize(token, { id: first as string })).holder);
    await bench.hold({ id: first as string });
    assert.deepEqual(await recent(bench, { limit: 10 }), [first, second]);
  },

  "sees no record that has expired": async (bench) => {
    await bench.hold({ id: bench.id("short"), leaseMs: 1_000, retentionMs: 1_000 });
    await bench.hold({ id: bench.id("long") });
    await bench.advance(2_000);
    assert.deepEqual(await recent(bench, { limit: 10 }), [bench.id("long")]);
  },

  "sees the same that it reads one by one": async (bench) => {
    const [completed, abandoned] = await several(bench, 3);
    const token = (await bench.get(completed))?.token ?? 0;
    await bench.complete((await bench.seize(token, { id: completed as string })).holder);
    const { holder } = await bench.seize((await bench.get(abandoned))?.token ?? 0, { id: abandoned as string });
    await bench.grantRetry(holder);
    const views = await bench.executions.recent({ limit: 10 }, bench.call);
    assert.deepEqual(views.map(({ status }) => status).sort(), ["abandoned", "completed", "running"]);
    for (const view of views) await bench.assertUnchanged(view, view.id);
  },
};

/** Records of different moments, in the order in which they are created. */
async function several(bench: Bench, count: number, operation = "charge"): Promise<string[]> {
  const ids: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const id = bench.id(`${operation} of ${index}`);
    await bench.hold({ id, operation });
    await bench.advance(1_000);
    ids.push(id);
  }
  return ids;
}

async function recent(bench: Bench, request: RecentExecutionsRequest): Promise<string[]> {
  return idsOf(await bench.executions.recent(request, bench.call));
}

function idsOf(views: readonly { readonly id: string }[]): string[] {
  return views.map(({ id }) => id);
}
