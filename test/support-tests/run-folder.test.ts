import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { isAlive } from "../support/child-processes.ts";
import { describePostgresServers, describeRedisServers } from "../support/engines.ts";
import { openRunFolder } from "../support/run-folder.ts";
import { until } from "../support/until.ts";
import { endWorkers, startWorker } from "../support/workers.ts";

const outer = process.env["EVENKEEL_RUN_FOLDER"];
beforeEach(() => {
  delete process.env["EVENKEEL_RUN_FOLDER"];
});
afterEach(async () => {
  await endWorkers();
  process.env["EVENKEEL_RUN_FOLDER"] = outer;
});

/** Starts a paused Redis and a paused PostgreSQL in a process that is killed after that; gives their folder and processes. */
async function crashed(): Promise<{ folder: string; pids: number[] }> {
  const owner = await startWorker("server-owner.ts");
  const { folder } = await owner.ask<{ folder: string }>({});
  const pids = readdirSync(join(folder, "pids")).map(Number).filter(isAlive);
  expect(pids.length).toBeGreaterThan(3);
  owner.kill("SIGKILL");
  await owner.ended;
  return { folder, pids };
}

describeRedisServers("servers whose process was killed", () => {
  describePostgresServers("with a PostgreSQL among them", () => {
    it("run until the end of the run that they belong to, and not longer", async () => {
      const run = openRunFolder();
      const { folder, pids } = await crashed();
      expect(folder).toBe(run.path);
      expect(pids.filter(isAlive)).toEqual(pids);
      await run.close();
      expect(pids.filter(isAlive)).toEqual([]);
      expect(existsSync(folder)).toBe(false);
    });

    it("end by themselves where that process was the run", async () => {
      const { folder, pids } = await crashed();
      await until("the folder is gone", () => !existsSync(folder));
      expect(pids.filter(isAlive)).toEqual([]);
    });
  });
});
