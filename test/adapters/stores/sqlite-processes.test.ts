import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { sqliteStore } from "../../../adapters/stores/sqlite.ts";
import { type IdempotentResult, withIdempotency } from "../../../src/index.ts";
import { endWorkers, startWorker, type Worker } from "../../support/workers.ts";

interface Outcome {
  readonly paidBy: number;
  readonly attempt: number;
}
interface Answer {
  readonly results: IdempotentResult<Outcome>[];
  readonly events: string[];
}

let folder: string;
let database: string;
let effectsFile: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "evenkeel-"));
  database = join(folder, "ledger.db");
  effectsFile = join(folder, "effects.log");
});

afterEach(async () => {
  await endWorkers();
  rmSync(folder, { recursive: true, force: true });
});

const startExecutor = (leaseMs = 30_000): Promise<Worker> =>
  startWorker("execution-worker.ts", database, effectsFile, String(leaseMs));

/** What was done for each key: (process, attempt, token) in the order in which it happened. */
function effects(): Map<string, { pid: number; attempt: number; token: number }[]> {
  const byKey = new Map<string, { pid: number; attempt: number; token: number }[]>();
  for (const line of readFileSync(effectsFile, "utf8").trim().split("\n")) {
    const [key = "", pid, attempt, token] = line.split(" ");
    byKey.set(key, [...(byKey.get(key) ?? []), { pid: Number(pid), attempt: Number(attempt), token: Number(token) }]);
  }
  return byKey;
}

async function untilEffectOf(key: string): Promise<void> {
  for (;;) {
    try {
      if (effects().has(key)) return;
    } catch {
      // The file is not there yet.
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe("many processes on one SQLite file", () => {
  it("run a function once for 64 concurrent calls over 4 processes, 1,000 keys in a row", {
    timeout: 180_000,
  }, async () => {
    const workers = await Promise.all(Array.from({ length: 4 }, () => startExecutor()));
    for (let n = 0; n < 1_000; n += 1) {
      const key = `key-${n}`;
      const answers = await Promise.all(workers.map((worker) => worker.ask<Answer>({ key, times: 16, workMs: 0 })));
      const results = answers.flatMap((answer) => answer.results);
      expect(results).toHaveLength(64);
      expect(new Set(results.map(({ value }) => value.paidBy)).size).toBe(1);
      expect(results.filter(({ replayed }) => !replayed)).toHaveLength(1);
    }
    const done = effects();
    expect(done.size).toBe(1_000);
    expect([...done.values()].every((runs) => runs.length === 1)).toBe(true);
  });

  it("take over after the lease when the holder is killed between claim and completion", async () => {
    const leaseMs = 1_000;
    const [victim, survivor] = await Promise.all([startExecutor(leaseMs), startExecutor(leaseMs)]);
    const lost = victim.ask({ key: "k", times: 1, workMs: 60_000 });
    lost.catch(() => {});
    await untilEffectOf("k");
    const killedAt = performance.now();
    victim.kill("SIGKILL");
    await expect(lost).rejects.toThrow("the worker ended");
    const { results } = await survivor.ask<Answer>({ key: "k", times: 1, workMs: 0 });
    expect(results[0]).toMatchObject({ replayed: false, attempt: 2, value: { paidBy: survivor.pid, attempt: 2 } });
    // Renewed at most a third of a lease before the kill: nobody takes over sooner than the rest of it.
    expect(performance.now() - killedAt).toBeGreaterThan((leaseMs * 2) / 3 - 50);
    const [first, second] = effects().get("k") ?? [];
    expect(second?.token).toBeGreaterThan(first?.token ?? Number.NaN);
  });

  it("refuse the stale completion of a process that was stopped past its lease; it adopts the winner's outcome", async () => {
    const leaseMs = 600;
    const [paused, winner] = await Promise.all([startExecutor(leaseMs), startExecutor(leaseMs)]);
    const stale = paused.ask<Answer>({ key: "k", times: 1, workMs: 300 });
    await untilEffectOf("k");
    paused.kill("SIGSTOP");
    const { results } = await winner.ask<Answer>({ key: "k", times: 1, workMs: 0 });
    expect(results[0]).toMatchObject({ replayed: false, attempt: 2, value: { paidBy: winner.pid } });
    paused.kill("SIGCONT");
    const { results: adopted, events } = await stale;
    expect(adopted[0]).toMatchObject({ replayed: true, attempt: 2, value: { paidBy: winner.pid } });
    expect(events).toContain("lease_lost");
    expect(events).toContain("stale_write");
    const replay = await winner.ask<Answer>({ key: "k", times: 1, workMs: 0 });
    expect(replay.results[0]).toMatchObject({ replayed: true, value: { paidBy: winner.pid } });
    expect(effects().get("k")).toHaveLength(2);
  });

  it("migrate one empty database at once", async () => {
    const workers = await Promise.all(Array.from({ length: 16 }, () => startExecutor()));
    const answers = await Promise.all(workers.map((worker) => worker.ask<Answer>({ key: "k", times: 1, workMs: 0 })));
    expect(new Set(answers.map(({ results }) => results[0]?.value.paidBy)).size).toBe(1);
    expect(effects().get("k")).toHaveLength(1);
  });

  it("leave an outcome that outlives all of them", async () => {
    const worker = await startExecutor();
    await worker.ask({ key: "k", times: 1, workMs: 0 });
    worker.kill("SIGKILL");
    await worker.ended;
    const store = sqliteStore(database);
    const pay = withIdempotency(async (_: { amount: number }) => "never", { store, operation: "pay" });
    expect(await pay.run({ amount: 1 }, { key: "k" })).toMatchObject({ replayed: true, value: { paidBy: worker.pid } });
    await store.close();
  });
});
