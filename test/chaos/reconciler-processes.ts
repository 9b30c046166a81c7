import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type ReconcilerStatus, ResourceLedger, type ResourceRow } from "../../src/index.ts";
import { buildWorker } from "../support/built-worker.ts";
import { openLedger } from "../support/open-ledger.ts";
import { callsIn, resourcesIn, underTwoKeys } from "../support/reconciler-folder.ts";
import type { PassAnswer, WorkerOptions, WorkerRequest } from "../support/reconciler-worker.ts";
import { until } from "../support/until.ts";
import { endWorkers, startWorker, type Worker } from "../support/workers.ts";

const RESYNC_MS = 200;
const LEASE_MS = 3_000;
const STALE_MS = 3_000;
/** The first call of all makes the ledger, on a machine that is busy with processes that start. */
const CALL = { timeoutMs: 20_000 };

const PATIENT: WorkerOptions = { resyncIntervalMs: RESYNC_MS, storeTimeoutMs: CALL.timeoutMs };

/**
 * Processes that reconcile one group without an election, and are stopped in the middle: the same on every engine.
 *
 * @param newLedger - the URL of an empty ledger, see `openLedger`.
 */
export function describeReconcilerProcesses(newLedger: () => Promise<string>, processes: number): void {
  let worker: string;
  let folder: string;
  let world: string;
  let url: string;

  beforeAll(async () => {
    worker = await buildWorker("reconciler-worker");
  });
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "evenkeel-"));
    world = join(folder, "world");
    mkdirSync(world);
    url = await newLedger();
  });
  afterEach(async () => {
    await endWorkers();
    rmSync(folder, { recursive: true, force: true });
  });
  afterAll(endWorkers);

  const start = (options: WorkerOptions = {}): Promise<Worker> =>
    startWorker(worker, url, world, JSON.stringify({ ...PATIENT, ...options }));
  const ask = <T>(of: Worker | undefined, request: WorkerRequest): Promise<T> => (of as Worker).ask<T>(request);
  const ids = (): string[] => resourcesIn(world).map(({ id }) => id);

  async function desire(desired: number): Promise<void> {
    const { store, close } = await openLedger(url);
    await new ResourceLedger({ store, group: "web", storeTimeoutMs: CALL.timeoutMs }).setDesired(desired);
    await close();
  }

  async function rows(): Promise<ResourceRow[]> {
    const { store, close } = await openLedger(url);
    const found = await store.resources.list({ group: "web", limit: 1_000 }, CALL);
    await close();
    return found;
  }

  it(`make nothing twice when ${processes} of them follow a desired number that changes`, async () => {
    const workers = await Promise.all(Array.from({ length: processes }, () => start({ workMs: 20 })));
    const [first] = workers;
    await Promise.all(workers.map((each) => ask(each, { do: "start" })));
    await ask(first, { do: "desire", desired: 20 });
    await until("some are made", () => ids().length >= 5);
    await ask(workers[1], { do: "desire", desired: 5 });
    await until("there are no more than that", () => ids().length <= 5);
    await ask(first, { do: "desire", desired: 12 });
    const converged = async (): Promise<boolean> => {
      const all = await Promise.all(workers.map((each) => ask<ReconcilerStatus>(each, { do: "status" })));
      return all.every((status) => status.converged) && ids().length === 12;
    };
    await until("all of them say that it has converged", converged);
    expect(ids().sort()).toEqual(Array.from({ length: 12 }, (_, n) => `web-${n}`).sort());

    const calls = callsIn(world);
    for (const action of ["create", "terminate"]) {
      expect(underTwoKeys(calls, action)).toEqual([]);
      const names = calls.filter((call) => call.action === action).map(({ id, incarnation }) => `${id}/${incarnation}`);
      // No lease lapses here, so that the compare-and-swap lets one of them through each time.
      expect(names).toHaveLength(new Set(names).size);
    }
    const live = (await rows()).filter(({ state }) => state !== "TERMINATED");
    expect(live.map(({ state }) => state)).toEqual(live.map(() => "PROVISIONED"));
    expect(live).toHaveLength(12);

    // At rest: several resyncs later nobody was called.
    await new Promise((resolve) => setTimeout(resolve, 4 * RESYNC_MS));
    expect(callsIn(world)).toHaveLength(calls.length);
    await Promise.all(workers.map((each) => ask(each, { do: "stop" })));
  });

  it("leave a creation to the one that took over when another was stopped past its lease in the middle of it", async () => {
    const leased = { actionTimeoutMs: LEASE_MS, storeTimeoutMs: LEASE_MS };
    // It works for as long as somebody may take to stop it, most of which passes while it is stopped.
    const [stopped, winner] = await Promise.all([start({ ...leased, workMs: LEASE_MS - 1_000 }), start(leased)]);
    await desire(1);
    const stale = ask<PassAnswer>(stopped, { do: "reconcile" });
    await until("create has begun", () => callsIn(world).length === 1);
    stopped.kill("SIGSTOP");
    await until("the other one takes over", async () => (await ask<PassAnswer>(winner, { do: "reconcile" })).converged);
    const taken = await rows();
    expect(taken).toMatchObject([{ state: "PROVISIONED", incarnation: 1 }]);
    const [first, second] = callsIn(world);
    expect(second).toMatchObject({ action: "create", attempt: 2, pid: winner.pid, key: first?.key });
    expect(second?.token).toBeGreaterThan(first?.token as number);
    stopped.kill("SIGCONT");
    // Its late write was for nothing, and so it says of its creation neither that it was done nor that it failed.
    expect((await stale).actions).toEqual([]);
    const withoutTime = ({ readAt: _, ...row }: ResourceRow) => row;
    expect((await rows()).map(withoutTime)).toEqual(taken.map(withoutTime));
    expect(ids()).toEqual(["web-0"]);
    expect((await ask<PassAnswer>(stopped, { do: "reconcile" })).actions).toEqual([]);
  });

  it("tell a resource that was stopped for too long, and was replaced, to stop itself", async () => {
    const [reconciling, beating] = await Promise.all([start({ staleAfterMs: STALE_MS }), start()]);
    await ask(reconciling, { do: "desire", desired: 1 });
    expect(await ask(reconciling, { do: "reconcile" })).toMatchObject({ converged: true });
    const beat = { do: "beat", id: "web-0", incarnation: 1 } as const;
    expect(await ask(beating, beat)).toEqual({ accepted: true, superseded: false });
    beating.kill("SIGSTOP");
    const late = ask(beating, beat);
    const actions: string[] = [];
    await until("it is replaced", async () => {
      actions.push(...(await ask<PassAnswer>(reconciling, { do: "reconcile" })).actions);
      return actions.length >= 2;
    });
    expect(actions.slice(0, 2)).toEqual(["fail web-0/1 done", "replace web-0/2 done"]);
    beating.kill("SIGCONT");
    expect(await late).toEqual({ accepted: false, superseded: true });
    expect((await rows())[0]).toMatchObject({ incarnation: 1 });
    expect((await rows())[0]?.state).not.toBe("PROVISIONED");
  });

  describe("two requests for one resource", () => {
    it("are one creation, whichever process gets them", async () => {
      const workers = await Promise.all([start({ workMs: 50 }), start({ workMs: 50 })]);
      await ask(workers[0], { do: "desire", desired: 1 });
      await Promise.all(workers.map((each) => ask(each, { do: "reconcile" })));
      expect(callsIn(world)).toHaveLength(1);
      expect(ids()).toEqual(["web-0"]);
    });
  });
}
