import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { describe, expect, it, type TestContext } from "vitest";
import { databaseUrl, describePostgres, describeRedis, redisUrl } from "../support/engines.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import {
  type ControlPlane,
  type Copy,
  CWD,
  controlPlane,
  startedTwice,
  TEST_PATIENCE_MS,
  until,
  untilConverged,
} from "./control-plane-copies.ts";

/** Short, so that there is no long wait for a leader that was killed. */
const ARGS = ["--lease-ms", "3000", "--stale-ms", "30000"];

async function leaderOf(copies: readonly Copy[]): Promise<{ leader: Copy; others: readonly Copy[]; epoch: number }> {
  let found: { leader: Copy; others: readonly Copy[]; epoch: number } | undefined;
  await until("all of them see the same leader", async () => {
    const seen = await Promise.all(copies.map(async (copy) => (await copy.state()).leader));
    const [first] = seen;
    const leader = copies.find(({ name }) => name === first?.identity);
    if (first === null || leader === undefined || seen.some((lead) => lead?.epoch !== first?.epoch)) return false;
    found = { leader, others: copies.filter((copy) => copy !== leader), epoch: first?.epoch as number };
    return true;
  });
  return found as NonNullable<typeof found>;
}

async function desire(copy: Copy, desired: number): Promise<void> {
  const key = randomUUID();
  await until("it is said", async () => {
    return (await copy.ask("PUT", "/desired/worker", { desired }, key)).status === 200;
  });
}

/** The others see nothing of a leader that dies in the middle of starting workers but that another one leads. */
async function survivesItsLeader(plane: ControlPlane, names: readonly string[]): Promise<readonly Copy[]> {
  const copies: Copy[] = [];
  for (const name of names) copies.push(await plane.start(name, "--desired", "4", ...ARGS));
  const { leader, others, epoch } = await leaderOf(copies);
  const [witness] = others as [Copy, ...Copy[]];
  await untilConverged(plane, witness, 4);
  const before = new Map(plane.living());

  const startedBy = () => plane.events().filter(({ event }) => event === "started").length;
  await desire(witness, 12);
  await until("the leader is at it", () => startedBy() > 4);
  await leader.stop("SIGKILL");
  const diedAt = performance.now();
  const next = await leaderOf(others);
  expect(next.epoch).toBeGreaterThan(epoch);
  await untilConverged(plane, witness, 12);

  expect(startedTwice(plane.events())).toEqual([]);
  // Those of before are the same, and beat through the others.
  expect(new Map([...plane.living()].filter(([name]) => before.has(name)))).toEqual(before);
  await until("all beat", async () => {
    const { group } = await next.leader.state();
    const sinceMs = performance.now() - diedAt;
    return group.resources.every(({ heartbeatAgeMs = Number.POSITIVE_INFINITY }) => heartbeatAgeMs < sinceMs - 500);
  });
  await desire(next.leader, 4);
  await untilConverged(plane, witness, 4);
  // Nobody was given up.
  expect([...plane.living().keys()].filter((name) => !name.endsWith("#1"))).toEqual([]);
  return others;
}

/** `test-remote` as people run it. */
async function testRemote(copy: Copy): Promise<void> {
  const tests = spawn(process.execPath, ["--import", "tsx", "test-remote.ts", copy.url], {
    cwd: CWD,
    // vitest has one of its own for what it runs.
    env: { ...process.env, NODE_TEST_CONTEXT: undefined },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let printed = "";
  for (const output of [tests.stdout, tests.stderr])
    output.on("data", (chunk) => {
      printed += chunk;
    });
  const [code] = await once(tests, "close");
  expect([code, printed]).toEqual([0, expect.stringMatching(/^. fail 0$/m)]);
  expect(Number(/^. pass (\d+)$/m.exec(printed)?.[1])).toBeGreaterThan(20);
}

/** On a server that the whole run shares. */
async function planeOn({ onTestFinished }: TestContext, store: string): Promise<ControlPlane> {
  return controlPlane(onTestFinished, store, `cp${randomUUID().slice(0, 8)}_`);
}

describe("several copies of examples/control-plane", { timeout: TEST_PATIENCE_MS }, () => {
  it("share one SQLite file, and the next one leads at once where the leader is stopped", async (context) => {
    const plane = await controlPlane(context.onTestFinished);
    const copies = [await plane.start("first", "--desired", "3"), await plane.start("second", "--desired", "7")];
    const { leader, others, epoch } = await leaderOf(copies);
    const [follower] = others as [Copy];
    // Whoever came first has said.
    await untilConverged(plane, follower, 3);
    await desire(follower, 2);
    await untilConverged(plane, leader, 2);
    const before = new Map(plane.living());
    expect(await leader.stop("SIGTERM")).toBe(0);
    const next = await leaderOf(others);
    expect(next.epoch).toBeGreaterThan(epoch);
    await desire(follower, 3);
    await untilConverged(plane, follower, 3);
    expect(Object.fromEntries(plane.living())).toMatchObject(Object.fromEntries(before));
    expect(startedTwice(plane.events())).toEqual([]);
  });

  describePostgres("on PostgreSQL", () => {
    it("go on where their leader dies at work, and pass the tests of a server that runs", async (context) => {
      const plane = await planeOn(context, await databaseUrl());
      const [follower] = (await survivesItsLeader(plane, ["first", "second", "third"])) as [Copy, Copy];
      await testRemote(follower);
      await untilConverged(plane, follower, 4);
      expect(startedTwice(plane.events())).toEqual([]);
    });
  });

  describeRedis("on Redis", () => {
    it.concurrent("keep their workers through an outage of the ledger that is longer than workers live alone", async (context) => {
      const proxy = await startTcpProxy({ port: Number(new URL(redisUrl()).port) });
      context.onTestFinished(() => proxy.stop());
      const plane = await planeOn(context, proxy.url(redisUrl()));
      const copy = await plane.start("only", "--desired", "3", "--stale-ms", "60000", "--orphan-ms", "20000");
      await untilConverged(plane, copy, 3);
      const before = new Map(plane.living());

      proxy.blackHole("toServer");
      const cutAt = performance.now();
      // Not a moment's trouble: they live longer than 20 s only because they are answered.
      while (performance.now() - cutAt < 26_000) {
        const beat = await copy.ask("POST", "/resources/worker-0/heartbeat", { incarnation: 1 });
        expect([beat.status, JSON.parse(beat.text)]).toEqual([503, expect.objectContaining({ status: 503 })]);
      }
      expect(plane.living()).toEqual(before);
      await proxy.heal();
      await desire(copy, 4);
      await untilConverged(plane, copy, 4);
      expect([...plane.living().keys()].sort()).toEqual(["worker-0#1", "worker-1#1", "worker-2#1", "worker-3#1"]);
    });

    it.concurrent("go on where their leader dies at work", async (context) => {
      await survivesItsLeader(await planeOn(context, redisUrl()), ["first", "second", "third"]);
    });
  });
});
