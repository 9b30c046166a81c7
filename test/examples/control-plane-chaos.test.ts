import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished, type TestContext } from "vitest";
import { chaosOptionsOf } from "../../examples/control-plane/chaos/options.ts";
import type { Report } from "../../examples/control-plane/chaos/report.ts";
import { commandLines } from "../../examples/control-plane/processes.ts";
import { childrenOf, isAlive, signalIfAlive } from "../support/child-processes.ts";
import { databaseUrl, describePostgres, describePostgresServers } from "../support/engines.ts";
import { until } from "../support/until.ts";

const CWD = fileURLToPath(new URL("../../examples/control-plane", import.meta.url));
/** It takes 70 s where there is nothing else to do. On a busy machine chaos alone goes on for up to 3 min longer, until all of it has come. */
const TIMEOUT_MS = 900_000;

/** Chaos as a process, with a folder of the test's own for its temporary files. */
async function startChaos(onTestFinished: TestContext["onTestFinished"], args: readonly string[]) {
  const folder = await mkdtemp(join(tmpdir(), "evenkeel-test-"));
  // PostgreSQL runs as another user than root.
  await chmod(folder, 0o755);
  const chaos = spawn(process.execPath, ["--import", "tsx", "chaos.ts", ...args], {
    cwd: CWD,
    env: { ...process.env, TMPDIR: folder },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [printed, complained] = ["", ""];
  chaos.stdout.on("data", (chunk) => {
    printed += chunk;
  });
  chaos.stderr.on("data", (chunk) => {
    complained += chunk;
  });
  const ended = once(chaos, "close").then(([code]) => code as number | null);
  /** Whatever names the folder: copies, workers, PostgreSQL, and what ends them. */
  const left = () => [...commandLines().values()].filter((line) => line.includes(folder));
  onTestFinished(async () => {
    signalIfAlive(chaos.pid as number, "SIGKILL");
    for (const pid of childrenOf(chaos.pid as number)) signalIfAlive(pid, "SIGKILL");
    await until("nothing of it is left", () => left().length === 0);
    await rm(folder, { recursive: true, force: true });
  });
  const files = () => (existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith("evenkeel-")) : []);
  return { chaos, ended, left, files, printed: () => printed, complained: () => complained };
}

describe("chaos over the control plane", () => {
  describePostgres("on PostgreSQL", () => {
    it("finds that all of it holds, and leaves nothing", { timeout: TIMEOUT_MS }, async ({ onTestFinished }) => {
      const args = ["--store", await databaseUrl(), "--seconds", "12", "--desired", "4", "--seed", "76", "--json"];
      const { ended, left, files, printed, complained } = await startChaos(onTestFinished, args);
      const code = await ended;
      expect(complained()).toBe("");
      const { checks, injected, seen } = JSON.parse(printed()) as Report;
      expect(checks.filter(({ wrong }) => wrong.length > 0)).toEqual([]);
      expect([code, checks.length]).toEqual([0, 12]);
      // What was on its way to the ledger at a cut is up to chance.
      const { lateWrites, ...faults } = injected;
      const { requests, replays, leaderChanges, started, replacements } = seen;
      const counts = Object.entries({ ...faults, requests, replays, leaderChanges, started, replacements });
      expect(counts.filter(([, count]) => count === 0)).toEqual([]);
      expect([left(), files()]).toEqual([[], []]);
    });
  });

  describePostgresServers("on a PostgreSQL of its own", () => {
    it("leaves nothing behind at Ctrl-C", { timeout: TIMEOUT_MS }, async ({ onTestFinished }) => {
      const args = ["--desired", "2", "--copies", "2", "--seed", "1"];
      const { chaos, ended, left, files, printed } = await startChaos(onTestFinished, args);
      await until("it is under way", () => /chaos begins/.test(printed()));
      // The keeper, PostgreSQL, two copies, and their workers.
      expect(left().length).toBeGreaterThanOrEqual(4);
      chaos.kill("SIGINT");
      expect(await ended).toBe(130);
      expect([left(), files()]).toEqual([[], []]);
      expect(isAlive(chaos.pid as number)).toBe(false);
    });
  });

  it("refuses in one line, and with exit code 2, what it can't cut off", async () => {
    const { ended, files, printed, complained } = await startChaos(onTestFinished, ["--store", "sqlite:chaos.db"]);
    expect([await ended, printed(), files()]).toEqual([2, "", []]);
    expect(complained()).toMatch(/^--store: there is no network to cut before SQLite; [^\n]+\n$/);
  });

  it.each<[string[], RegExp]>([
    [["--store", "rediss://ledger"], /^--store: what is encrypted /],
    [["--store", "postgres:ledger"], /^--store: this postgres: URL names no host\.$/],
    [["--store", "ledger"], /^--store must be /],
    [["--copies", "1"], /^--copies must be a whole number from 2 to 9, and not "1"\.$/],
    [["--seconds", "1e3"], /^--seconds must be /],
    [["--moderate"], /^Unknown option '--moderate'/],
  ])("refuses %j", (args, line) => {
    expect(() => chaosOptionsOf(args)).toThrow(line);
  });
});
