import { readFileSync } from "node:fs";
import { expect, it, onTestFinished } from "vitest";
import { systemClock } from "../../../../src/clock.ts";
import { temporaryFolder } from "../../../support/sqlite-files.ts";
import { endWorkers, startWorker } from "../../../support/workers.ts";
import { eventually } from "../eventually.ts";
import { HttpClient } from "../http-client.ts";
import { builtHttpWorker } from "./built-http-worker.ts";
import { expectProblem } from "./expect-problem.ts";
import type { Suite } from "./http-suite.ts";

const LEASE_MS = 3_000;

/** What is left of a process that was killed. */
export function processCases({ shim, url }: Suite): void {
  // What only one process can see does not outlive it.
  if (url === undefined) return;

  it("runs again after the lease, not after the retention, when the process was killed in mid-handler", async () => {
    const folder = temporaryFolder();
    const effects = folder.file("effects.txt");
    const ledger = await url();
    onTestFinished(async () => {
      await endWorkers();
      await ledger.release();
      folder.remove();
    });
    const start = async () => {
      const worker = await startWorker(await builtHttpWorker(), shim.name, ledger.url, effects, `${LEASE_MS}`);
      const { port } = await worker.ask<{ port: number }>({});
      const client = new HttpClient(port);
      onTestFinished(() => client.close());
      return { worker, client };
    };
    const runs = (): string[] => readFileSync(effects, { encoding: "utf8", flag: "a+" }).split("\n").slice(0, -1);

    const [first, other] = await Promise.all([start(), start()]);
    first.client.begin({ key: "k", headers: { "X-Never": "1" } });
    await eventually(runs).toEqual(["k 1"]);
    expectProblem(await other.client.send({ key: "k" }), 409, "IN_PROGRESS", true);
    first.worker.kill("SIGKILL");
    await first.worker.ended;
    const killedAt = systemClock.monotonic();
    await eventually(async () => (await other.client.send({ key: "k" })).status).toBe(200);
    const tookMs = systemClock.monotonic() - killedAt;
    // The last renewal was a third of the lease before the kill at most, give or take the machine.
    expect(tookMs).toBeGreaterThan(LEASE_MS / 3);
    expect(tookMs).toBeLessThan(LEASE_MS + 10_000);
    expect(runs()).toEqual(["k 1", "k 2"]);
    const replay = await other.client.send({ key: "k" });
    expect([replay.text, replay.headers["idempotent-replayed"]]).toEqual(['{"attempt":2}', "true"]);

    // A process that starts afterwards gives the same answer.
    const third = await start();
    expect((await third.client.send({ key: "k" })).body).toEqual(replay.body);
    expect(runs()).toEqual(["k 1", "k 2"]);
  });
}
