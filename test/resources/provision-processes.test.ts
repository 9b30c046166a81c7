import { readFileSync } from "node:fs";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { buildWorker } from "../support/built-worker.ts";
import { openLedger } from "../support/open-ledger.ts";
import type { ProvisionAnswer, ProvisionRequest } from "../support/provision-worker.ts";
import { useTemporaryFolder } from "../support/sqlite-files.ts";
import { until } from "../support/until.ts";
import { endWorkers, startWorker, type Worker } from "../support/workers.ts";

/** One line of the effects file: one call of `create`. */
interface Effect {
  readonly id: string;
  readonly pid: number;
  readonly attempt: number;
  readonly token: number;
  readonly key: string;
}

/** So long that a process that does not stand still keeps it, however busy the machine is. */
const LEASE_MS = 2_000;
/** Where it has to be renewed in time. */
const LONGER_MS = 4_500;
const { folder } = useTemporaryFolder();

let worker: string;

beforeAll(async () => {
  worker = await buildWorker("provision-worker");
});
afterEach(endWorkers);

const url = (): string => `sqlite:${folder.file("ledger.db")}`;
const start = (leaseMs = LEASE_MS): Promise<Worker> =>
  startWorker(worker, url(), folder.file("effects.log"), String(leaseMs));
const ask = (worker: Worker, request: Partial<ProvisionRequest> = {}): Promise<ProvisionAnswer> =>
  worker.ask<ProvisionAnswer>({ id: "web-1", times: 1, workMs: 0, inProgress: "comesBack", ...request });

function effects(): Effect[] {
  const lines = readFileSync(folder.file("effects.log"), { encoding: "utf8", flag: "a+" }).split("\n");
  return lines.filter(Boolean).map((line) => {
    const [id = "", pid, attempt, token, key = ""] = line.split(" ");
    return { id, pid: Number(pid), attempt: Number(attempt), token: Number(token), key };
  });
}

async function row(id = "web-1") {
  const { store, close } = await openLedger(url());
  const found = await store.resources.get("workers", id, { timeoutMs: 20_000 });
  await close();
  return found;
}

describe("processes that provision on one SQLite file", () => {
  it("create a resource once when all of them ask for it at once", async () => {
    const workers = await Promise.all([start(30_000), start(30_000)]);
    for (let round = 0; round < 5; round += 1) {
      const id = `web-${round}`;
      const answers = await Promise.all(workers.map((worker) => ask(worker, { id, times: 5, workMs: 30 })));
      const results = answers.flatMap((answer) => answer.results);
      expect(answers.flatMap(({ errors }) => errors)).toEqual([]);
      expect(results).toHaveLength(10);
      expect(results.filter(({ created }) => created)).toHaveLength(1);
      expect(new Set(results.map(({ externalId }) => externalId)).size).toBe(1);
      expect(effects().filter((effect) => effect.id === id)).toHaveLength(1);
    }
  });

  it("refuse a second one while the first is at it for longer than its lease", async () => {
    const [first, second] = await Promise.all([start(LONGER_MS), start(LONGER_MS)]);
    const slow = ask(first, { workMs: 2 * LONGER_MS });
    await until("create has begun", () => effects().length === 1);
    await new Promise((resolve) => setTimeout(resolve, 1.5 * LONGER_MS));
    expect(await ask(second, { inProgress: "rejects" })).toEqual({ results: [], errors: ["IN_PROGRESS"] });
    expect((await slow).results).toMatchObject([{ created: true, externalId: `vm-of-${first.pid}` }]);
    expect(effects()).toHaveLength(1);
  });

  it.each([
    ["before its effect", "createBegins", [2]],
    ["after its effect", "createDone", [1, 2]],
  ] as const)(
    "follow one that is killed inside create, %s, after its lease and with the same key",
    async (_, dieAt, attempts) => {
      const [victim, survivor] = await Promise.all([start(), start()]);
      await expect(ask(victim, { dieAt })).rejects.toThrow("the worker ended");
      const pending = await row();
      expect(pending).toMatchObject({ state: "PENDING", incarnation: 1, attempt: 1 });
      expect((await ask(survivor)).results).toEqual([
        { created: true, externalId: `vm-of-${survivor.pid}`, incarnation: 1 },
      ]);
      const done = effects();
      expect(done.map(({ attempt }) => attempt)).toEqual(attempts);
      expect(new Set(done.map(({ key }) => key)).size).toBe(1);
      expect(done.at(-1)?.token).toBeGreaterThan(pending?.fencingToken as number);
      const provisioned = await row();
      expect(provisioned).toMatchObject({ state: "PROVISIONED", incarnation: 1, attempt: 2 });
      // By the store's clock: not before the lease of the dead one was over.
      expect(provisioned?.provisionedAt).toBeGreaterThanOrEqual(pending?.leaseExpiresAt as number);
    },
  );

  it("leave it to the one that took over when the first was stopped past its lease", async () => {
    const [stopped, winner] = await Promise.all([start(), start()]);
    // It works for as long as somebody may take to stop it, most of which passes while it is stopped.
    const stale = ask(stopped, { workMs: LEASE_MS });
    await until("create has begun", () => effects().length === 1);
    stopped.kill("SIGSTOP");
    expect((await ask(winner)).results).toMatchObject([{ created: true, externalId: `vm-of-${winner.pid}` }]);
    stopped.kill("SIGCONT");
    expect(await stale).toMatchObject({ errors: [], results: [{ created: false, externalId: `vm-of-${winner.pid}` }] });
    const [first, second] = effects();
    expect(second).toMatchObject({ key: first?.key, attempt: 2 });
    expect(await row()).toMatchObject({ state: "PROVISIONED", externalId: `vm-of-${winner.pid}` });
  });
});
