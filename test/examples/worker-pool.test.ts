import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type WorkerProcess, workersOf } from "../../examples/worker-pool/processes.ts";
import { childrenOf, isAlive, signalIfAlive } from "../support/child-processes.ts";
import { until } from "../support/until.ts";

const CWD = fileURLToPath(new URL("../../examples/worker-pool", import.meta.url));

describe("examples/worker-pool", () => {
  let folder: string;
  let database: string;
  let pool: ChildProcess;
  let printed = "";

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "evenkeel-example-"));
    database = join(folder, "pool.db");
    printed = "";
  });
  afterEach(async () => {
    // The pool first, so that it replaces none of the others.
    if (pool.exitCode === null && pool.signalCode === null) await end("SIGKILL");
    await until("no worker is left", () => {
      const left = workersOf(database);
      for (const { pid } of left) signalIfAlive(pid, "SIGKILL");
      return left.length === 0;
    });
    await rm(folder, { recursive: true, force: true });
  });

  /** As a shell starts it: in a process group of its own. */
  function start(desired: number): void {
    pool = spawn(process.execPath, ["--import", "tsx", "pool.ts"], {
      cwd: CWD,
      // Nobody is to fall silent because the machine stood still.
      env: { ...process.env, DATABASE: database, DESIRED: String(desired), STALE_MS: "15000" },
      stdio: ["pipe", "pipe", "inherit"],
      detached: true,
    });
    pool.stdout?.on("data", (chunk) => {
      printed += chunk;
    });
  }

  async function end(signal: NodeJS.Signals): Promise<unknown> {
    const ended = once(pool, "exit");
    pool.kill(signal);
    return (await ended)[0];
  }

  const type = (line: string) => pool.stdin?.write(`${line}\n`);
  const has = (line: RegExp) => line.test(printed);
  const times = (line: RegExp) => printed.match(new RegExp(line, "gm"))?.length ?? 0;
  const nameOf = ({ id, incarnation }: WorkerProcess) => `${id}#${incarnation}`;

  /** What lives, by name. Never is there anything twice. */
  function living(): Map<string, number> {
    const workers = workersOf(database);
    const byName = new Map(workers.map((worker) => [nameOf(worker), worker.pid]));
    expect(byName.size, `of ${workers.map(nameOf)}`).toBe(workers.length);
    return byName;
  }

  function isTheseAlone(...names: readonly string[]): boolean {
    return [...living().keys()].sort().join() === [...names].sort().join();
  }

  const names = (count: number, incarnation: number) =>
    Array.from({ length: count }, (_, index) => `worker-${index}#${incarnation}`);

  /** Each of them is there, and nothing else, and listens to signals. */
  const untilAtWork = (...expected: readonly string[]) =>
    until(`these work: ${expected}`, () => {
      return isTheseAlone(...expected) && expected.every((name) => has(new RegExp(`^${name} .* is at work$`, "m")));
    });

  it("replaces a worker that is killed, and ends three of six: gracefully, and one that does not listen by force", async () => {
    // No more than a busy machine starts before their heartbeats are missed.
    start(6);
    await untilAtWork(...names(6, 1));
    const before = living();
    expect(childrenOf(pool.pid as number)).toEqual(expect.arrayContaining([...before.values()]));

    type("status");
    await until("it says how things stand", () => has(/"converged":true/));
    process.kill(before.get("worker-4#1") as number, "SIGKILL");
    await until("it is replaced", () => has(/^create worker-4#2 \(NotObserved\): done$/m));
    const others = names(6, 1).filter((name) => name !== "worker-4#1");
    await untilAtWork(...others, "worker-4#2");
    const after = living();
    expect(others.map((name) => after.get(name))).toEqual(others.map((name) => before.get(name)));
    expect(after.get("worker-4#2")).not.toBe(before.get("worker-4#1"));

    type("deafen worker-3");
    type("desired 3");
    await until("one alone is left over", () => isTheseAlone(...names(3, 1), "worker-3#1"));
    expect(has(/^worker-3#1 .* does not listen$/m)).toBe(true);
    await until("three are left", () => isTheseAlone(...names(3, 1)));
    for (const name of ["worker-4#2", "worker-5#1"])
      expect([name, times(new RegExp(`^${name} .* ends: it was asked to$`))]).toEqual([name, 1]);
    expect(times(/ ends: /)).toBe(2);
    await until("it is said", () => has(/^worker-3#1 .* has ended with SIGKILL$/m));
    expect(times(/^terminate /)).toBe(3);
    expect(times(/^forceTerminate /)).toBe(1);
    expect(names(3, 1).map((name) => living().get(name))).toEqual(names(3, 1).map((name) => before.get(name)));
  });

  it("replaces a worker that is frozen, and is rid of it in the end, even when it is killed itself meanwhile", async () => {
    start(3);
    await untilAtWork(...names(3, 1));
    const frozen = living().get("worker-1#1") as number;
    const frozenAt = performance.now();
    type("freeze worker-1");
    await until("it is replaced", () => has(/^replace worker-1#2 \(HeartbeatStale\): done$/m));
    // Its last heartbeat was a second before, or more where the machine is busy.
    expect(performance.now() - frozenAt).toBeGreaterThan(2_000);
    await untilAtWork(...names(3, 1), "worker-1#2");
    await until("it is asked to end", () => has(/^terminate worker-1#1 \(HeartbeatStale\): done$/m));

    await end("SIGKILL");
    await until("nobody is left but who can't see that the pool is gone", () => isTheseAlone("worker-1#1"));
    start(3);
    // The third worker-1 within seconds has to wait for its turn: two ended unexpectedly.
    await untilAtWork("worker-0#2", "worker-2#2");
    await until("the frozen one is gone", () => !isAlive(frozen));
  });

  it("is taken up where it was killed, with each worker once, and leaves none behind at Ctrl-C", async () => {
    start(5);
    await untilAtWork(...names(5, 1));
    const before = [...living().values()];
    await end("SIGKILL");
    start(5);
    await untilAtWork(...names(5, 2));
    await until("those of the first are gone", () => !before.some(isAlive));

    const ended = once(pool, "exit");
    // As a terminal does it: the workers get it too.
    process.kill(-(pool.pid as number), "SIGINT");
    expect(await ended).toEqual([0, null]);
    expect([...living().keys()]).toEqual([]);
    for (const name of names(5, 2)) expect(has(new RegExp(`^${name} .* ends: it was asked to$`, "m"))).toBe(true);
  });
});
