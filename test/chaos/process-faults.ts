import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { buildWorker } from "../support/built-worker.ts";
import type { CallAnswer, CallRequest } from "../support/execution-worker.ts";
import { openLedger } from "../support/open-ledger.ts";
import { endWorkers, startWorker, type Worker } from "../support/workers.ts";

/** One line of the effects file. */
interface Effect {
  readonly pid: number;
  readonly attempt: number;
  readonly token: number;
}

/** So long that a process that does not stand still keeps it, however busy the machine is. */
const LEASE_MS = 2_000;
/** Of each store call, also the first, which makes the ledger. */
const STORE_TIMEOUT_MS = 20_000;
/** Of a test with many processes or calls, on a machine that has others to run too. */
const MANY_WITHIN_MS = 150_000;
/** The key of calls that don't count. */
const WARM_UP = "warm-up";
/** By how much two clocks of one machine may disagree, and a timer be early. */
const CLOCKS_APART_MS = 50;

/**
 * What happens to real processes that share a ledger when one of them is killed, stopped or stuck: the same on every engine.
 *
 * @param newLedger - the URL of a ledger of its own, see `openLedger`.
 */
export function describeProcessFaults(newLedger: () => Promise<string>): void {
  let executor: string;
  let folder: string;
  let url: string;

  beforeAll(async () => {
    executor = await buildWorker("execution-worker");
  });
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "evenkeel-"));
    url = await newLedger();
  });

  afterEach(async () => {
    await endWorkers();
    rmSync(folder, { recursive: true, force: true });
  });

  const effectsFile = (): string => join(folder, "effects.log");
  const startExecutor = (leaseMs = LEASE_MS): Promise<Worker> =>
    startWorker(executor, url, effectsFile(), String(leaseMs));
  const ask = (worker: Worker, request: Partial<CallRequest>): Promise<CallAnswer> =>
    worker.ask<CallAnswer>({ key: "k", times: 1, workMs: 0, storeTimeoutMs: STORE_TIMEOUT_MS, ...request });

  /** One that has its connection, and the ledger: a lease begins to run out when it is asked for. */
  async function startWarmExecutor(): Promise<Worker> {
    const worker = await startExecutor();
    await ask(worker, { key: WARM_UP });
    return worker;
  }

  function effects(): Effect[] {
    const lines = readFileSync(effectsFile(), { encoding: "utf8", flag: "a+" }).split("\n");
    const called = lines.filter((line) => line !== "" && !line.startsWith(WARM_UP));
    return called.map((line) => {
      const [, pid, attempt, token] = line.split(" ").map(Number);
      return { pid, attempt, token } as Effect;
    });
  }

  async function untilAnEffect(): Promise<void> {
    while (effects().length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  describe("a process that is killed", () => {
    it.each([
      ["before its effect", "effectBegins", 0],
      ["after its effect", "effectDone", 1],
    ] as const)(
      "%s is followed after its lease, as attempt 2 under a higher token (I2, I6, I13)",
      async (_, dieAt, before) => {
        const [victim, survivor] = await Promise.all([startWarmExecutor(), startWarmExecutor()]);
        const askedAt = performance.now();
        await expect(ask(victim, { dieAt })).rejects.toThrow("the worker ended");
        const { results } = await ask(survivor, {});
        expect(results).toMatchObject([{ replayed: false, attempt: 2, value: { paidBy: survivor.pid, attempt: 2 } }]);
        // Its lease was taken after that, and nobody takes over before the end of it.
        expect(performance.now() - askedAt).toBeGreaterThan(LEASE_MS - CLOCKS_APART_MS);
        const done = effects();
        expect(done.map(({ attempt }) => attempt)).toEqual(before === 0 ? [2] : [1, 2]);
        expect(done.at(-1)?.token).toBeGreaterThan(before === 0 ? 0 : (done[0]?.token as number));
      },
    );

    it("while its completion is on the way leaves one outcome or none, and its callers get one (I1, I12, I14)", async () => {
      const survivor = await startWarmExecutor();
      for (let round = 0; round < 3; round += 1) {
        const key = `k${round}`;
        const victim = await startWarmExecutor();
        await expect(ask(victim, { key, dieAt: "completionSent" })).rejects.toThrow("the worker ended");
        const { results } = await ask(survivor, { key, times: 5 });
        const [first] = results;
        expect(results).toHaveLength(5);
        // The ledger had it or not: then the attempt is another one.
        expect(first?.value).toMatchObject({ attempt: first?.value.paidBy === victim.pid ? 1 : 2 });
        expect(results.every(({ value }) => value.token === first?.value.token)).toBe(true);
      }
    });

    it("after its completion was answered is replayed, and nothing runs again (I1, I5, I9)", async () => {
      const [victim, survivor] = await Promise.all([startWarmExecutor(), startWarmExecutor()]);
      await expect(ask(victim, { dieAt: "completionAnswered" })).rejects.toThrow("the worker ended");
      const { results } = await ask(survivor, {});
      expect(results).toMatchObject([{ replayed: true, attempt: 1, value: { paidBy: victim.pid } }]);
      expect(effects()).toHaveLength(1);
    });
  });

  it("refuses the completion of a process that was stopped past its lease; that adopts the winner's outcome (I1, I2, I7)", async () => {
    const [paused, winner] = await Promise.all([startWarmExecutor(), startWarmExecutor()]);
    // It works for as long as somebody may take to stop it, most of which passes while it is stopped.
    const stale = ask(paused, { workMs: LEASE_MS });
    await untilAnEffect();
    paused.kill("SIGSTOP");
    const { results } = await ask(winner, {});
    expect(results).toMatchObject([{ replayed: false, attempt: 2, value: { paidBy: winner.pid } }]);
    paused.kill("SIGCONT");
    const { results: adopted, events } = await stale;
    expect(adopted).toMatchObject([{ replayed: true, attempt: 2, value: { paidBy: winner.pid } }]);
    expect(events).toEqual(expect.arrayContaining(["lease_lost", "stale_write"]));
    expect((await ask(winner, {})).results).toMatchObject([{ replayed: true, value: { paidBy: winner.pid } }]);
    expect(effects()).toHaveLength(2);
  });

  it("refuses the completion of a process whose event loop stood still past its lease (I1, I2, I8)", async () => {
    const [stuck, winner] = await Promise.all([startWarmExecutor(), startWarmExecutor()]);
    const go = join(folder, "go");
    const stale = ask(stuck, { blockUntil: go });
    await untilAnEffect();
    const { results } = await ask(winner, {});
    expect(results).toMatchObject([{ replayed: false, attempt: 2, value: { paidBy: winner.pid } }]);
    writeFileSync(go, "");
    const { results: adopted, events } = await stale;
    expect(adopted).toMatchObject([{ replayed: true, attempt: 2, value: { paidBy: winner.pid } }]);
    expect(events).toContain("stale_write");
  });

  it(
    "runs a function once for 10,000 callers of one key in 4 processes (I1, I14, I20)",
    async () => {
      const workers = await Promise.all(Array.from({ length: 4 }, () => startExecutor(30_000)));
      // Less than `maxWaiters` at once; the rest comes after them.
      const answers: CallAnswer[] = [];
      for (let round = 0; round < 4; round += 1) {
        answers.push(...(await Promise.all(workers.map((worker) => ask(worker, { times: 625, workMs: 50 })))));
      }
      expect(answers.flatMap(({ errors }) => errors)).toEqual([]);
      const results = answers.flatMap((answer) => answer.results);
      expect(results).toHaveLength(10_000);
      expect(results.filter(({ replayed }) => !replayed)).toHaveLength(1);
      expect(new Set(results.map(({ value }) => value.token)).size).toBe(1);
      expect(effects()).toHaveLength(1);
    },
    MANY_WITHIN_MS,
  );

  it(
    "lets 16 processes begin on an empty ledger at once (I1)",
    async () => {
      const workers = await Promise.all(Array.from({ length: 16 }, () => startExecutor(30_000)));
      const answers = await Promise.all(workers.map((worker) => ask(worker, {})));
      expect(answers.flatMap(({ errors }) => errors)).toEqual([]);
      expect(new Set(answers.map(({ results }) => results[0]?.value.paidBy)).size).toBe(1);
      expect(effects()).toHaveLength(1);
    },
    MANY_WITHIN_MS,
  );

  it("keeps an outcome that outlives all processes (I5)", async () => {
    const worker = await startExecutor();
    const [run] = (await ask(worker, {})).results;
    worker.kill("SIGKILL");
    await worker.ended;
    const ledger = await openLedger(url);
    const [record] = await ledger.store.executions.list({ limit: 10 }, { timeoutMs: 20_000 });
    await ledger.close();
    expect(record).toMatchObject({ status: "completed", token: run?.value.token, attempt: 1 });
  });
}
