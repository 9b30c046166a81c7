import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { buildWorker } from "../support/built-worker.ts";
import type { CallAnswer, Run } from "../support/execution-worker.ts";
import { openLedger } from "../support/open-ledger.ts";
import { startWorker, type Worker } from "../support/workers.ts";

/** How often each key is called, by all processes together. */
const CALLERS = 200;
const PROCESSES = 4;
/** Keys under way at a time. */
const KEYS_AT_ONCE = 4;
/**
 * Where a process that is killed dies, in turn: half of them with a claim in their hands for sure, which somebody has to take
 * over. One is killed from outside, in the midst of whatever it does.
 */
const DEATHS = ["effectDone", "anywhere", "effectBegins", "completionSent"] as const;
/** How many have to die with a claim in their hands: more keys than those of the plan are called until they have. */
const DEATHS_OF_HOLDERS = 3;

export interface ManyCallersPlan {
  /** The ledger, as `openLedger` takes it: through a proxy where the wire is to fail. */
  readonly url: string;
  /** Where the ledger is looked at afterwards. Defaults to `url`. */
  readonly checkAt?: string;
  /** How many keys at least. */
  readonly keys: number;
  /** Defaults to 30,000. */
  readonly leaseMs?: number;
  /** The share of the answers that a worker loses by itself, for engines without a wire. Defaults to 0. */
  readonly lostReplies?: number;
  /** How long the function takes. Defaults to 0. */
  readonly workMs?: number;
  /** How often one of the processes is killed; another takes its place, and its callers ask that one. Absent: never. */
  readonly killEveryMs?: number;
}

/**
 * The part of a plan by which a process is killed every second. The lease has room for a completion that waits for others, in
 * a process that has just started on a machine with much else to do: one that comes too late keeps its caller's value
 * (`onCompleteFailure`), and another attempt has its own.
 */
export const KILLING = { leaseMs: 4_000, workMs: 5, killEveryMs: 1_000 };

/** What was seen of one key. */
interface SeenKey {
  /** The token of each run, in the order in which the runs began. */
  readonly runs: readonly number[];
  /** What callers were told, each answer once. */
  readonly answers: readonly Run[];
  readonly settled: number;
  readonly errors: readonly string[];
  /** How many callers were told that they ran it themselves. */
  readonly firstHand: number;
}

let built: Promise<string> | undefined;

/**
 * Lets 200 callers in 4 processes ask for each key, and checks what holds whatever goes wrong: I1 (one outcome for all), I2 (it
 * is that of the highest token), I9 (replays equal it), I13 (what a killed process held is taken over) and I14 (every caller is
 * settled).
 */
export async function callFromManyProcesses(plan: ManyCallersPlan): Promise<ReadonlyMap<string, SeenKey>> {
  const folder = mkdtempSync(join(tmpdir(), "evenkeel-"));
  const effectsFile = join(folder, "effects.log");
  const { leaseMs = 30_000, lostReplies = 0, workMs = 0 } = plan;
  const started: Worker[] = [];
  // JavaScript, since TypeScript keeps a core busy for a second at each start, and one process after the other is killed.
  built ??= buildWorker("execution-worker");
  const script = await built;
  async function start(): Promise<Worker> {
    const worker = await startWorker(script, plan.url, effectsFile, String(leaseMs), String(lostReplies));
    started.push(worker);
    return worker;
  }
  const places = await Promise.all(Array.from({ length: PROCESSES }, start));
  /** Who takes the place of a process that is killed, or is about to be. */
  const successors = new Map<Worker, Worker>();
  const seen = new Map<string, readonly CallAnswer[]>();

  async function ask(worker: Worker, key: string): Promise<CallAnswer> {
    try {
      return await worker.ask<CallAnswer>({ key, times: CALLERS / PROCESSES, workMs });
    } catch (error) {
      // Killed with its callers: they ask again, as clients do whose server is gone.
      const successor = successors.get(worker);
      if (successor === undefined) throw error;
      return ask(successor, key);
    }
  }

  let begun = 0;
  let holders = plan.killEveryMs === undefined ? DEATHS_OF_HOLDERS : 0;
  async function callKeys(): Promise<void> {
    while (begun < plan.keys || holders < DEATHS_OF_HOLDERS) {
      begun += 1;
      const key = `key-${begun}`;
      // The one that is asked first gets the claim more often than not: each is it in turn.
      const first = begun % PROCESSES;
      const inTurn = [...places.slice(first), ...places.slice(0, first)];
      seen.set(key, await Promise.all(inTurn.map((worker) => ask(worker, key))));
    }
  }

  /** Kills one process after the other until the calls end. */
  async function killNowAndThen(everyMs: number, callsEnd: Promise<unknown>): Promise<void> {
    const end = callsEnd.then(
      () => "end",
      () => "end",
    );
    let next = start();
    for (let turn = 0; ; turn += 1) {
      const death = DEATHS[turn % DEATHS.length] as (typeof DEATHS)[number];
      const victim = places[turn % PROCESSES] as Worker;
      const [successor] = await Promise.all([next, sleep(everyMs)]);
      successors.set(victim, successor);
      if (death === "anywhere") victim.kill("SIGKILL");
      else victim.ask({ key: "", times: 0, workMs: 0, dieAt: death }).catch(() => {});
      if ((await Promise.race([end, victim.ended])) === "end") return;
      next = start();
      places[turn % PROCESSES] = successor;
      if (death === "effectBegins" || death === "effectDone") holders += 1;
    }
  }

  const calls = Promise.all(Array.from({ length: KEYS_AT_ONCE }, callKeys));
  const killing = plan.killEveryMs === undefined ? undefined : killNowAndThen(plan.killEveryMs, calls);
  try {
    await Promise.all([calls, killing]);
    const runs = runsByKey(effectsFile);
    const result = new Map([...seen].map(([key, answers]) => [key, seenKey(runs.get(key) ?? [], answers)]));
    expect(result.size).toBeGreaterThanOrEqual(plan.keys);
    await assertInvariants(plan.checkAt ?? plan.url, result);
    if (killing !== undefined) assertTakeovers(holders, result);
    return result;
  } finally {
    await Promise.allSettled([killing]);
    for (const worker of started) worker.kill("SIGKILL");
    await Promise.all(started.map(({ ended }) => ended));
    rmSync(folder, { recursive: true, force: true });
  }
}

function seenKey(runs: readonly number[], answers: readonly CallAnswer[]): SeenKey {
  const results = answers.flatMap((answer) => answer.results);
  const distinct = new Map(results.map(({ value }) => [JSON.stringify(value), value]));
  return {
    runs,
    answers: [...distinct.values()],
    settled: answers.reduce((sum, { results, errors }) => sum + results.length + errors.length, 0),
    errors: answers.flatMap(({ errors }) => errors),
    firstHand: results.filter(({ replayed }) => !replayed).length,
  };
}

async function assertInvariants(url: string, keys: ReadonlyMap<string, SeenKey>): Promise<void> {
  const ledger = await openLedger(url);
  try {
    const committed = await committedTokens(ledger.store);
    for (const [key, { answers, runs, settled, errors, firstHand }] of keys) {
      expect(settled, `I14: all callers of ${key} were settled`).toBe(CALLERS);
      expect(errors, `callers of ${key} were refused`).toEqual([]);
      expect(answers, `I1, I9: all callers of ${key} were told the same`).toHaveLength(1);
      const [answer] = answers as [Run];
      expect(runs, `${key} was run under the token of its outcome`).toContain(answer.token);
      expect(Math.max(...runs), `I2: the outcome of ${key} is that of its highest token`).toBe(answer.token);
      expect(committed.get(key), `the ledger holds the outcome that callers of ${key} were told`).toBe(answer.token);
      expect(firstHand, `I1: nobody but the one who completed ${key} was told that it ran`).toBeLessThanOrEqual(1);
    }
  } finally {
    await ledger.close();
  }
}

/** Whoever died with a claim in its hands was followed, by an attempt of a higher number. */
function assertTakeovers(holders: number, keys: ReadonlyMap<string, SeenKey>): void {
  const followed = [...keys.values()].map(({ answers }) => (answers[0] as Run).attempt - 1);
  const takeovers = followed.reduce((sum, more) => sum + more, 0);
  expect(takeovers, "I13: each of their claims was taken over").toBeGreaterThanOrEqual(holders);
}

/** The token under which each key's record was completed, as the ledger has it. */
async function committedTokens(store: Awaited<ReturnType<typeof openLedger>>["store"]): Promise<Map<string, number>> {
  const tokens = new Map<string, number>();
  for (let after: string | undefined; ; ) {
    const page = await store.executions.list(
      { operation: "pay", status: "completed", limit: 200, ...(after === undefined ? {} : { after }) },
      { timeoutMs: 30_000 },
    );
    for (const { key, token } of page) tokens.set(key as string, token);
    after = page.at(-1)?.id;
    if (page.length < 200) return tokens;
  }
}

function runsByKey(effectsFile: string): Map<string, number[]> {
  const byKey = new Map<string, number[]>();
  for (const line of readFileSync(effectsFile, "utf8").trim().split("\n")) {
    const [key = "", , , token] = line.split(" ");
    byKey.set(key, [...(byKey.get(key) ?? []), Number(token)]);
  }
  return byKey;
}
