import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { isEvenkeelError, Reconciler } from "../../src/index.ts";
import { buildWorker } from "../support/built-worker.ts";
import { openLedger } from "../support/open-ledger.ts";
import { callsIn, folderCallbacks, resourcesIn, underTwoKeys } from "../support/reconciler-folder.ts";
import type { PassAnswer, WorkerOptions } from "../support/reconciler-worker.ts";
import { until } from "../support/until.ts";
import { endWorkers, startWorker } from "../support/workers.ts";

/** So long that no new resource falls silent before the process is done. */
const STALE_MS = 1_500;
/** How many of a test's processes live at a time. */
const AT_ONCE = 6;
const CALL = { timeoutMs: 20_000 };

type Desired = number | { readonly id: string; readonly spec: number }[];

/** What a process is killed at, with all that is there before. */
interface Scenario {
  readonly action: "create" | "replace" | "update" | "terminate";
  /** What there is before, if anything. */
  readonly before?: Desired;
  readonly desired: Desired;
  readonly options?: WorkerOptions;
  /** How many passes it takes. */
  readonly passes: number;
  readonly specs: readonly string[];
}

const ONE = [{ id: "web-0", spec: 1 }];
const SCENARIOS: readonly Scenario[] = [
  { action: "create", desired: ONE, passes: 1, specs: ["1"] },
  // Of a resource that never beats.
  { action: "replace", before: ONE, desired: ONE, options: { staleAfterMs: STALE_MS }, passes: 2, specs: ["1"] },
  { action: "update", before: ONE, desired: [{ id: "web-0", spec: 2 }], passes: 1, specs: ["2"] },
  { action: "terminate", before: ONE, desired: [], passes: 1, specs: [] },
];

/** A ledger and the folder of what its reconciler has made. */
interface Place {
  readonly url: string;
  readonly folder: string;
}

export interface Ledgers {
  /** The URL of an empty ledger, see `openLedger`; `place` is a folder of its own. */
  create(place: string): Promise<string>;
  /** A copy, where that is cheaper than to do everything again. */
  copy?(from: Place, place: string): string;
  /** How long whoever comes after waits for the dead, in milliseconds; also how long the engine may take to answer. */
  readonly leaseMs: number;
  /** Which of the awaits are tried, from 1. */
  points(awaits: number): readonly number[];
}

/** For engines on which a place costs more: one await in ten, and not the same ones of each scenario. */
export function corePoints(awaits: number): readonly number[] {
  return Array.from({ length: awaits }, (_, at) => at + 1).filter((point) => point % 10 === awaits % 10);
}

/** A process is killed at an await of its passes, and another one goes on: on every engine the same comes of it. */
export function describeReconcilerKills(ledgers: Ledgers): void {
  let worker: string;
  let folder: string;
  let places = 0;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "evenkeel-"));
    worker = await buildWorker("reconciler-worker");
  });
  afterEach(endWorkers);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const newPlace = (): string => {
    places += 1;
    const place = join(folder, String(places));
    mkdirSync(place);
    return place;
  };

  /** The one that comes after, in this process. */
  async function finish({ url, folder: world }: Place, desired?: Desired): Promise<void> {
    const { store, close } = await openLedger(url);
    try {
      const reconciler = new Reconciler<number>({
        name: "web",
        store,
        ...folderCallbacks(world),
        actionTimeoutMs: ledgers.leaseMs,
        storeTimeoutMs: ledgers.leaseMs,
      });
      if (desired !== undefined) await answered(() => reconciler.setDesired(desired));
      await until("it converges", async () => (await reconciler.reconcile()).converged);
      expect((await answered(() => reconciler.reconcile())).actions).toEqual([]);
    } finally {
      await close();
    }
  }

  async function prepare({ before, desired, options }: Scenario): Promise<Place> {
    const place = newPlace();
    const made: Place = { url: await ledgers.create(place), folder: join(place, "world") };
    mkdirSync(made.folder);
    if (before !== undefined) await finish(made, before);
    const { store, close } = await openLedger(made.url);
    const reconciler = new Reconciler<number>({ name: "web", store, ...folderCallbacks(made.folder) });
    await answered(() => reconciler.setDesired(desired));
    await close();
    if (options?.staleAfterMs !== undefined) {
      // By the engine's clock, which is the one that counts.
      await until("it has fallen silent", () => isSilent(made.url, STALE_MS));
    }
    return made;
  }

  /** `failed`: its engine did not answer in time, because the machine is busy. */
  async function run(
    place: Place,
    { options, passes }: Scenario,
    dieAt?: number,
  ): Promise<PassAnswer | "killed" | "failed"> {
    const all = { actionTimeoutMs: ledgers.leaseMs, ...options, ...(dieAt === undefined ? {} : { dieAt }) };
    const victim = await startWorker(worker, place.url, place.folder, JSON.stringify(all));
    try {
      return await victim.ask<PassAnswer>({ do: "reconcile", passes });
    } catch (error) {
      if ((error as Error).message === "the worker ended") return "killed";
      if ((error as Error).message === "STORE_UNAVAILABLE") return "failed";
      throw error;
    } finally {
      victim.kill("SIGKILL");
    }
  }

  /** How many awaits there are where nobody dies. */
  async function undisturbed(scenario: Scenario, newPlace: () => Promise<Place> | Place): Promise<number> {
    for (let tries = 0; ; tries += 1) {
      const place = await newPlace();
      const answer = await run(place, scenario);
      await finish(place);
      await expectRight(place, scenario, 0);
      if (typeof answer === "object") {
        expect(answer.actions.join()).toContain(scenario.action);
        return answer.awaits;
      }
      expect(tries, "a process does all of it").toBeLessThan(5);
    }
  }

  async function expectRight({ url, folder: world }: Place, { specs }: Scenario, point: number): Promise<void> {
    const there = resourcesIn(world);
    expect(
      there.map(({ spec }) => spec),
      `what there is, killed at ${point}`,
    ).toEqual(specs);
    const calls = callsIn(world);
    for (const action of ["create", "update", "terminate"])
      expect(underTwoKeys(calls, action), `${action} under two keys, killed at ${point}`).toEqual([]);
    const { store, close } = await openLedger(url);
    const rows = await store.resources.list({ group: "web", limit: 100 }, CALL);
    await close();
    const live = rows.filter(({ state }) => state !== "TERMINATED");
    expect(
      live.map(({ state }) => state),
      `rows, killed at ${point}`,
    ).toEqual(specs.map(() => "PROVISIONED"));
    expect(live.map(({ incarnation }) => incarnation)).toEqual(there.map(({ incarnation }) => incarnation));
  }

  describe("a process that is killed", () => {
    it.each(SCENARIOS)("in a $action leaves what another one finishes, and nothing twice (I15)", async (scenario) => {
      const template = await prepare(scenario);
      const place = (): Promise<Place> | Place => {
        if (ledgers.copy === undefined) return prepare(scenario);
        const at = newPlace();
        const world = join(at, "world");
        cpSync(template.folder, world, { recursive: true });
        return { url: ledgers.copy(template, at), folder: world };
      };
      const points = [...ledgers.points(await undisturbed(scenario, place))];
      const left = points.values();
      let kills = 0;
      const some = async (): Promise<void> => {
        for (const point of left) {
          const tried = await place();
          if ((await run(tried, scenario, point)) === "killed") kills += 1;
          await finish(tried);
          await expectRight(tried, scenario, point);
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, some));
      // A machine that is so busy that a lease lapses makes fewer calls.
      expect(kills).toBeGreaterThan(points.length / 2);
    });
  });
}

/** Asks again where the machine was too busy to answer in time. */
async function answered<T>(ask: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await ask();
    } catch (error) {
      if (!isEvenkeelError(error) || error.code !== "STORE_UNAVAILABLE" || tries === 5) throw error;
    }
  }
}

async function isSilent(url: string, ageMs: number): Promise<boolean> {
  const { store, close } = await openLedger(url);
  const { rows } = await store.resources.staleBefore({ group: "web", ageMs, limit: 1 }, CALL);
  await close();
  return rows.length > 0;
}
