import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import type { CallAnswer, Run } from "../support/execution-worker.ts";
import { openLedger } from "../support/open-ledger.ts";
import { startWorker, type Worker } from "../support/workers.ts";

/** How often each key is called, by all processes together. */
const CALLERS = 200;
const PROCESSES = 4;
/** Keys under way at a time. */
const KEYS_AT_ONCE = 4;

export interface ManyCallersPlan {
  /** The ledger, as `openLedger` takes it: through a proxy where the wire is to fail. */
  readonly url: string;
  /** Where the ledger is looked at afterwards. Defaults to `url`. */
  readonly checkAt?: string;
  readonly keys: number;
  /** Defaults to 30,000. */
  readonly leaseMs?: number;
  /** The share of the answers that a worker loses by itself, for engines without a wire. Defaults to 0. */
  readonly lostReplies?: number;
  /** How often one of the processes is killed (and another takes its place); absent: never. */
  readonly killEveryMs?: number;
}

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

/**
 * Lets 200 callers in 4 processes ask for each key, and checks what holds whatever goes wrong: I1 (one outcome for all), I2 (it
 * is that of the highest token), I9 (replays equal it) and I14 (every caller is settled).
 */
export async function callFromManyProcesses(plan: ManyCallersPlan): Promise<ReadonlyMap<string, SeenKey>> {
  const folder = mkdtempSync(join(tmpdir(), "evenkeel-"));
  const effectsFile = join(folder, "effects.log");
  const start = (): Promise<Worker> =>
    startWorker(
      "execution-worker.ts",
      plan.url,
      effectsFile,
      String(plan.leaseMs ?? 30_000),
      String(plan.lostReplies ?? 0),
    );
  const places = await Promise.all(Array.from({ length: PROCESSES }, async () => ({ worker: await start() })));
  const seen = new Map<string, { answers: CallAnswer[]; abandoned: number }>();
  let isDone = false;

  async function ask(place: { worker: Worker }, key: string): Promise<CallAnswer | undefined> {
    try {
      return await place.worker.ask<CallAnswer>({ key, times: CALLERS / PROCESSES, workMs: 0 });
    } catch (error) {
      if (plan.killEveryMs !== undefined && String(error).includes("the worker ended")) return undefined;
      throw error;
    }
  }

  async function callKeys(first: number): Promise<void> {
    for (let n = first; n < plan.keys; n += KEYS_AT_ONCE) {
      const key = `key-${n}`;
      const answers = await Promise.all(places.map((place) => ask(place, key)));
      const known = answers.filter((answer) => answer !== undefined);
      // Killed with its callers: somebody asks again, so that the key ends up settled.
      if (known.length === 0) n -= KEYS_AT_ONCE;
      else seen.set(key, { answers: known, abandoned: answers.length - known.length });
    }
  }

  async function killNowAndThen(everyMs: number): Promise<number> {
    let killed = 0;
    for (; !isDone; killed += 1) {
      await new Promise((resolve) => setTimeout(resolve, everyMs));
      if (isDone) break;
      const place = places[killed % PROCESSES] as { worker: Worker };
      const replacement = await start();
      const victim = place.worker;
      place.worker = replacement;
      victim.kill("SIGKILL");
      await victim.ended;
    }
    return killed;
  }

  try {
    const killing = plan.killEveryMs === undefined ? undefined : killNowAndThen(plan.killEveryMs);
    await Promise.all(Array.from({ length: KEYS_AT_ONCE }, (_, first) => callKeys(first))).finally(() => {
      isDone = true;
    });
    if (killing !== undefined) expect(await killing, "nobody was killed").toBeGreaterThan(0);
    const runs = runsByKey(effectsFile);
    const result = new Map([...seen].map(([key, { answers }]) => [key, seenKey(runs.get(key) ?? [], answers)]));
    expect(result.size).toBe(plan.keys);
    await assertInvariants(plan.checkAt ?? plan.url, result);
    return result;
  } finally {
    isDone = true;
    for (const { worker } of places) worker.kill("SIGKILL");
    await Promise.all(places.map(({ worker }) => worker.ended));
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
    for (const [key, { answers, runs, settled, errors }] of keys) {
      expect(settled % (CALLERS / PROCESSES), `I14: all callers of ${key} were settled`).toBe(0);
      expect(errors, `callers of ${key} were refused`).toEqual([]);
      expect(answers, `I1, I9: all callers of ${key} were told the same`).toHaveLength(1);
      const [answer] = answers as [Run];
      expect(runs, `${key} was run under the token of its outcome`).toContain(answer.token);
      expect(Math.max(...runs), `I2: the outcome of ${key} is that of its highest token`).toBe(answer.token);
      expect(committed.get(key), `the ledger holds the outcome that callers of ${key} were told`).toBe(answer.token);
    }
  } finally {
    await ledger.close();
  }
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
