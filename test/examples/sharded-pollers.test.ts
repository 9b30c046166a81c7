import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it, type TestContext } from "vitest";
import { startFeedServer } from "../../examples/sharded-pollers/feed-server.ts";
import { FEEDS } from "../../examples/sharded-pollers/feeds.ts";
import { type LogLine, machineTime, mergedLogs, type PollLine } from "../../examples/sharded-pollers/poll-log.ts";
import { areSettled, type Poller, startPoller } from "../../examples/sharded-pollers/pollers.ts";
import { tally } from "../../examples/sharded-pollers/tally.ts";
import { seededRandom } from "../../src/testing/index.ts";
import { childrenOf, isAlive, signalIfAlive } from "../support/child-processes.ts";
import { databaseUrl, describePostgres, describeRedis, redisUrl } from "../support/engines.ts";

const CWD = fileURLToPath(new URL("../../examples/sharded-pollers", import.meta.url));
/** A machine that is too busy for leases of three seconds comes to it in the end. */
const PATIENCE_MS = 90_000;
const TIMEOUT_MS = 240_000;

/** Of the test itself: several run at once. */
type OnFinished = TestContext["onTestFinished"];

async function newFolder(onTestFinished: OnFinished): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "evenkeel-example-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (const deadline = performance.now() + PATIENCE_MS; !holds(); await sleep(20))
    if (performance.now() > deadline) throw new Error(`it never came about that ${what}`);
}

/** The demo as a process. Its own temporary files are in the folder, too. */
async function startDemo(onTestFinished: OnFinished, env: Record<string, string> = {}) {
  const folder = await newFolder(onTestFinished);
  const logs = join(folder, "logs");
  const demo = spawn(process.execPath, ["--import", "tsx", "demo.ts"], {
    cwd: CWD,
    env: { ...process.env, TMPDIR: folder, LOGS: logs, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const children = new Set<number>();
  onTestFinished(() => {
    for (const pid of [demo.pid as number, ...children]) signalIfAlive(pid, "SIGKILL");
  });
  let printed = "";
  demo.stdout.on("data", (chunk) => {
    printed += chunk;
    for (const child of childrenOf(demo.pid as number)) children.add(child);
  });
  return {
    demo,
    logs,
    children,
    printed: () => printed,
    ended: once(demo, "close").then(([code]) => code as number | null),
    leftFolders: () => readdirSync(folder).filter((name) => name.startsWith("evenkeel-pollers-")),
  };
}

/** From its last look at its lease to that of the next holder: the lease is a second longer than the deadline. */
const LEAST_GAP_MS = 900;

/**
 * Finds what no division may do, whoever is killed or stands still for however long. No shard is given up, unless it is lost, under a
 * poll. And for each two holders of a shard:
 *
 * - nothing is begun under a higher epoch before the last time that something was checked under a lower one;
 * - what is still under way then was checked so long before that a lease has lapsed meanwhile;
 * - it has no effect after one under the higher epoch. What was sent before may come in a little after that has begun.
 */
function faultsOf(lines: readonly LogLine[]): string[] {
  const faults: string[] = [];
  const ends = new Map(lines.flatMap((line) => (line.what === "end" ? [[line.poll, line] as const] : [])));
  const givenUp = new Map(
    lines.flatMap((line) => {
      const isOwnWish = line.what === "over" && (line.reason === "moved" || line.reason === "stopped");
      return isOwnWish ? [[`${line.shard} ${line.epoch}`, line.at] as const] : [];
    }),
  );
  const polls = lines.filter((line): line is PollLine => line.what !== "over");
  for (const { poller, feed, shard, epoch, at } of polls)
    if (at > (givenUp.get(`${shard} ${epoch}`) ?? Number.POSITIVE_INFINITY))
      faults.push(`given up under a poll: ${poller} at ${feed} under ${epoch}`);
  const holders = new Map<string, number>();
  const shards = new Map<number, PollLine[]>();
  for (const line of polls) {
    if (line.what !== "begin") continue;
    const term = `shard ${line.shard} under epoch ${line.epoch}`;
    const holder = holders.get(term) ?? line.pid;
    holders.set(term, holder);
    if (holder !== line.pid) faults.push(`${term} is held by two`);
    shards.set(line.shard, [...(shards.get(line.shard) ?? []), line]);
  }
  for (const begun of shards.values()) {
    const epochs = [...new Set(begun.map(({ epoch }) => epoch))].sort((a, b) => a - b);
    for (const epoch of epochs) {
      const next = begun.find((line) => line.epoch > epoch);
      if (next === undefined) continue;
      const effects = begun.flatMap((line) => (line.epoch > epoch ? filedAt(ends.get(line.poll)) : []));
      for (const line of begun.filter((line) => line.epoch === epoch)) {
        const end = ends.get(line.poll);
        const { heldAt } = end ?? line;
        const what = `${line.poller} at ${line.feed} under ${epoch}, ${next.poller} at ${next.feed} under ${next.epoch}`;
        if (heldAt >= next.at) faults.push(`both hold the shard: ${what}`);
        if (end !== undefined && end.at <= next.at) continue;
        if (next.at - heldAt < LEAST_GAP_MS) faults.push(`not waited for: ${what}`);
        if (filedAt(end).some((at) => effects.some((effect) => effect < at))) faults.push(`filed too late: ${what}`);
      }
    }
  }
  return faults;
}

/** By the clock of the server that took it. */
function filedAt(end: (PollLine & { what: "end" }) | undefined): number[] {
  return end?.outcome === "filed" ? [end.at] : [];
}

describe.concurrent("examples/sharded-pollers", () => {
  it("plays its demo to the end, and the logs bear it out", { timeout: TIMEOUT_MS }, async ({ onTestFinished }) => {
    const { ended, printed, logs, children, leftFolders } = await startDemo(onTestFinished);
    expect([await ended, printed()]).toEqual([0, expect.stringMatching(/^ {2}none by two pollers at a time$/m)]);
    const lines = mergedLogs(logs);
    expect(faultsOf(lines)).toEqual([]);

    const moved = [...printed().matchAll(/^ {2}(\d+) shards have moved, (.*) that had no need to$/gm)];
    expect(moved.length).toBe(6);
    expect(moved.map(([, , needless]) => needless)).toEqual(moved.map(() => "none"));
    // One that can't have been pulled back: only the fence has stopped it.
    const polls = lines.filter((line): line is PollLine => line.what !== "over");
    const refused = polls.filter((line) => line.what === "end" && line.outcome === "refused");
    expect(refused.map(({ poller }) => poller)).toContain("poller-3");
    expect(new Set(polls.map(({ feed }) => feed)).size).toBe(FEEDS.length);
    expect(new Set(lines.map(({ poller }) => poller)).size).toBe(4);
    expect([...children].filter(isAlive)).toEqual([]);
    expect(leftFolders()).toEqual([]);
  });

  const SEED = Number(process.env["SEED"] ?? Math.floor(performance.timeOrigin));
  it(`lets no feed be polled by two, whoever is killed and when (SEED=${SEED})`, { timeout: TIMEOUT_MS }, async ({
    onTestFinished,
  }) => {
    const random = seededRandom(SEED);
    const folder = await newFolder(onTestFinished);
    const logs = join(folder, "logs");
    mkdirSync(logs);
    const server = await startFeedServer();
    onTestFinished(() => server.close());
    const live = new Map<string, Poller>();
    const killed: Promise<unknown>[] = [];
    const stopped: Promise<unknown>[] = [];

    function start(...names: readonly string[]): void {
      for (const name of names) {
        const poller = startPoller({ name, database: join(folder, "pollers.db"), serverPort: server.port, logs });
        live.set(name, poller);
        onTestFinished(async () => {
          signalIfAlive(poller.pid, "SIGKILL");
          await poller.ended;
        });
      }
    }
    function end(count: number, signal: "SIGKILL" | "SIGTERM"): void {
      const ended = signal === "SIGKILL" ? killed : stopped;
      for (let n = 0; n < count; n += 1) {
        const poller = [...live.values()][Math.floor(random.float() * live.size)] as Poller;
        live.delete(poller.name);
        poller.signal(signal);
        ended.push(poller.ended);
      }
    }
    const missing = () => ["poller-1", "poller-2", "poller-3"].filter((name) => !live.has(name));
    const someTime = (ms: number) => sleep(random.float() * ms);
    /** Those who are left hold everything, and have polled all of it since. */
    async function untilAllIsPolled(): Promise<void> {
      await until(`all shards are held by ${[...live.keys()]}`, () => areSettled([...live.values()]));
      const from = machineTime();
      await until("all feeds are polled", () =>
        FEEDS.every((feed) => server.filed.get(feed)?.some(({ at }) => at > from) === true),
      );
    }

    start("poller-1", "poller-2", "poller-3");
    await untilAllIsPolled();

    // At any moment.
    await someTime(1_000);
    end(1, "SIGKILL");
    await untilAllIsPolled();

    // While shards are handed over to one that joins, which may be it.
    const [joining = ""] = missing();
    start(joining);
    await until("somebody sees it", () => [...live.values()].some((poller) => poller.members().includes(joining)));
    await someTime(800);
    end(1, "SIGKILL");
    await untilAllIsPolled();

    // Two at once.
    start(...missing());
    await untilAllIsPolled();
    await someTime(1_000);
    end(2, "SIGKILL");
    await untilAllIsPolled();

    // The last one hands everything over to those who are about to join.
    end(1, "SIGTERM");
    start(...missing().slice(0, 2));
    await untilAllIsPolled();

    end(2, "SIGTERM");
    expect(await Promise.all(stopped)).toEqual(stopped.map(() => 0));
    expect(await Promise.all(killed)).toEqual(killed.map(() => "SIGKILL"));

    const lines = mergedLogs(logs);
    expect(faultsOf(lines)).toEqual([]);
    expect(tally(lines)).toMatchObject({ overlaps: [], feeds: FEEDS.length, pollers: 3 });
    // What the server says, who has neither a lease nor a log of theirs, is the same.
    const filed = [...server.filed.values()].flat();
    const ends = lines.flatMap((line) => (line.what === "end" && line.outcome === "filed" ? [line] : []));
    const known = new Set(filed.map(({ feed, at }) => `${feed} ${at}`));
    expect(ends.filter(({ feed, at }) => !known.has(`${feed} ${at}`))).toEqual([]);
    const admitted = server.requests.filter(({ refused }) => !refused);
    const highest = new Map<number, number>();
    for (const { shard, epoch } of admitted) {
      expect(epoch).toBeGreaterThanOrEqual(highest.get(shard) ?? 0);
      highest.set(shard, epoch);
    }
  });

  it("leaves nothing behind at Ctrl-C", { timeout: TIMEOUT_MS }, async ({ onTestFinished }) => {
    const { demo, ended, printed, children, leftFolders } = await startDemo(onTestFinished);
    await until("it runs", () => / holds 256$/m.test(printed()));
    demo.kill("SIGINT");
    expect(await ended).toBe(1);
    await until("its poller has ended", () => ![...children].some(isAlive));
    expect(leftFolders()).toEqual([]);
  });

  /** Nobody ends its pollers then: they see that it is gone. */
  async function killTheDemo(onTestFinished: OnFinished, DATABASE: string): Promise<void> {
    const { demo, printed, children } = await startDemo(onTestFinished, { DATABASE });
    await until("it runs", () => / holds 256$/m.test(printed()));
    expect(children.size).toBeGreaterThanOrEqual(1);
    demo.kill("SIGKILL");
    await until("its poller has ended", () => ![...children].some(isAlive));
  }

  describePostgres("on PostgreSQL", () => {
    it("runs, and its pollers end when the demo is killed", { timeout: TIMEOUT_MS }, async ({ onTestFinished }) =>
      killTheDemo(onTestFinished, await databaseUrl()),
    );
  });

  describeRedis("on Redis", () => {
    it("runs, and its pollers end when the demo is killed", { timeout: TIMEOUT_MS }, ({ onTestFinished }) =>
      killTheDemo(onTestFinished, redisUrl()),
    );
  });

  it("would find out pollers that are at a feed together", () => {
    let polls = 0;
    type Poll = { readonly pid: number; readonly epoch: number; readonly from: number };
    const made = ({ pid, epoch, from }: Poll, to?: number, outcome = "filed" as const, heldAt = from): PollLine[] => {
      polls += 1;
      const same = { poll: `${polls}`, poller: `poller-${pid}`, pid, feed: "feed-1", shard: 7, epoch };
      const begin: PollLine = { ...same, what: "begin", at: from, heldAt: from };
      return to === undefined ? [begin] : [begin, { ...same, what: "end", at: to, heldAt, outcome }];
    };
    const log = (...parts: LogLine[][]) => parts.flat().sort((a, b) => a.at - b.at);
    const refused = "refused" as "filed";
    const next = made({ pid: 2, epoch: 5, from: 5_000 }, 5_040);
    const said = (lines: LogLine[]) => [
      faultsOf(lines).map((fault) => fault.split(":")[0]),
      tally(lines).overlaps.length,
    ];

    expect(said(log(made({ pid: 1, epoch: 4, from: 4_900 }, 4_990), next))).toEqual([[], 0]);
    // Killed, or suspended: the next one has waited.
    expect(said(log(made({ pid: 1, epoch: 4, from: 3_000 }), next))).toEqual([[], 0]);
    expect(said(log(made({ pid: 1, epoch: 4, from: 3_000 }, 6_000, refused), next))).toEqual([[], 0]);

    expect(said(log(made({ pid: 1, epoch: 4, from: 3_000 }, 5_020), next))).toEqual([[], 0]);

    expect(said(log(made({ pid: 1, epoch: 4, from: 4_990 }), next))[0]).toEqual(["not waited for"]);
    expect(said(log(made({ pid: 1, epoch: 4, from: 4_990 }, 5_030, refused), next))).toEqual([["not waited for"], 1]);
    expect(said(log(made({ pid: 1, epoch: 4, from: 3_000 }, 6_000), next))).toEqual([["filed too late"], 1]);
    const held = made({ pid: 1, epoch: 4, from: 3_000 }, 5_060, refused, 5_020);
    expect(said(log(held, next))).toEqual([["both hold the shard", "not waited for"], 1]);
    expect(said(log(made({ pid: 1, epoch: 5, from: 1_000 }, 1_040), next))[0]).toEqual([
      "shard 7 under epoch 5 is held by two",
    ]);
    const over = { poller: "poller-2", pid: 2, shard: 7, epoch: 5, at: 5_030, what: "over" } as const;
    expect(said(log(next, [{ ...over, reason: "moved" }]))[0]).toEqual(["given up under a poll"]);
    expect(said(log(next, [{ ...over, reason: "deadline" }]))[0]).toEqual([]);
    // The other way round: what is older must not begin again.
    const back = made({ pid: 1, epoch: 4, from: 5_010 }, 5_050);
    expect(said(log(back, next))).toEqual([["both hold the shard", "not waited for", "filed too late"], 1]);
  });
});
