import { strict as assert } from "node:assert";
import { assertAtMost } from "./assertions.ts";
import type { Bench, ConformanceCases } from "./bench.ts";

/** {@link ExecutionStore.purge}. */
export const purgeCases: ConformanceCases = {
  "deletes what has expired and nothing else": async (bench) => {
    await expired(bench, 3);
    const running = await bench.hold({ id: bench.id("running") });
    const completed = await bench.hold({ id: bench.id("completed") });
    await bench.complete(completed.holder);
    const abandoned = await bench.hold({ id: bench.id("abandoned"), leaseMs: 1_000 });
    await bench.advance(1_000);
    assertPurged(bench, await purge(bench, 100), 3);
    assert.equal((await bench.get(running.holder.id))?.status, "running");
    assert.equal((await bench.get(completed.holder.id))?.status, "completed");
    assert.equal((await bench.get(abandoned.holder.id))?.status, "abandoned");
  },

  "deletes at most as many as it is told, and the rest the next time": async (bench) => {
    await expired(bench, 5);
    assertPurged(bench, await purge(bench, 2), 2);
    assertPurged(bench, await purge(bench, 2), 2);
    assertPurged(bench, await purge(bench, 2), 1);
    assert.equal(await purge(bench, 2), 0);
  },

  "deletes nothing where there is nothing": async (bench) => {
    assert.equal(await purge(bench, 100), 0);
    await bench.hold();
    assert.equal(await purge(bench, 100), 0);
  },

  "leaves a record alone at one moment before it expires": async (bench) => {
    const { holder } = await bench.hold();
    await bench.complete(holder);
    await bench.advanceAlmost(bench.retentionMs);
    assert.equal(await purge(bench, 100), 0);
    assert.equal((await bench.get())?.status, "completed");
  },

  "deletes a record at the very end of its retention": async (bench) => {
    const { holder } = await bench.hold();
    await bench.complete(holder);
    await bench.advance(bench.retentionMs);
    assertPurged(bench, await purge(bench, 100), 1);
  },

  "deletes abandoned records whose time is up, with their steps": async (bench) => {
    const { holder } = await bench.hold();
    await bench.step(holder, 0, "reserve");
    await bench.advance(bench.leaseMs + bench.retentionMs);
    assertPurged(bench, await purge(bench, 100), 1);
    const { claim } = await bench.hold();
    assert.deepEqual([...claim.steps], []);
  },

  "leaves a record alone that was claimed anew after it had expired": async (bench) => {
    await expired(bench, 1);
    await bench.hold({ id: bench.id("expired 0") });
    assert.equal(await purge(bench, 100), 0);
    assert.equal((await bench.get(bench.id("expired 0")))?.status, "running");
  },

  "counts what would be deleted, and deletes nothing": async (bench) => {
    assert.deepEqual(await bench.executions.countExpired(bench.call), { count: 0 });
    await expired(bench, 5);
    await bench.hold({ id: bench.id("running") });
    await bench.abandoned({ id: bench.id("abandoned"), leaseMs: 1_000 });
    const { count } = await bench.executions.countExpired(bench.call);
    assertPurged(bench, count, 5);
    assert.deepEqual(await bench.executions.countExpired(bench.call), { count });
    assert.equal(await purge(bench, 100), count);
    assert.deepEqual(await bench.executions.countExpired(bench.call), { count: 0 });
  },

  "counts a record from the very end of its retention": async (bench) => {
    const { holder } = await bench.hold();
    await bench.complete(holder);
    await bench.advanceAlmost(bench.retentionMs);
    assert.deepEqual(await bench.executions.countExpired(bench.call), { count: 0 });
    await bench.advance(bench.retentionMs);
    assertPurged(bench, (await bench.executions.countExpired(bench.call)).count, 1);
  },

  "does not count a record that was claimed anew after it had expired": async (bench) => {
    await expired(bench, 1);
    await bench.hold({ id: bench.id("expired 0") });
    assert.deepEqual(await bench.executions.countExpired(bench.call), { count: 0 });
  },
};

async function purge(bench: Bench, limit: number): Promise<number> {
  const { purged } = await bench.executions.purge({ limit }, bench.call);
  assert.ok(purged <= limit, `${purged} were deleted, and ${limit} allowed`);
  return purged;
}

function assertPurged(bench: Bench, purged: number, expected: number): void {
  if (bench.capabilities.purge) assert.equal(purged, expected);
  else assertAtMost(purged, expected, "the number of purged records");
}

async function expired(bench: Bench, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    const { holder } = await bench.hold({ id: bench.id(`expired ${index}`) });
    await bench.complete(holder);
  }
  await bench.advance(bench.retentionMs);
}
