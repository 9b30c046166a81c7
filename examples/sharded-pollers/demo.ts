import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { jumpHash } from "evenkeel";
import { startFeedServer } from "./feed-server.ts";
import { FEEDS, SHARDS } from "./feeds.ts";
import { machineTime, mergedLogs } from "./poll-log.ts";
import { areSettled, killPollers, type Poller, startPoller } from "./pollers.ts";
import { tally } from "./tally.ts";

/** What never comes about on a busy machine, either, is given up. */
const PATIENCE_MS = 60_000;

const folder = mkdtempSync(join(tmpdir(), "evenkeel-pollers-"));
const { DATABASE = join(folder, "pollers.db"), LOGS = join(folder, "logs") } = process.env;
mkdirSync(LOGS, { recursive: true });
/** Those that run and are not suspended. */
const live = new Map<string, Poller>();
const ends: Promise<unknown>[] = [];
/** Of a poller that ended although nobody had asked it to. */
let failure: string | undefined;

// Nothing is left behind, however it ends.
process.once("exit", () => {
  killPollers();
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

const server = await startFeedServer();

try {
  title(`one poller of ${FEEDS.length} feeds, each due every second`);
  await change(() => start("poller-1"));

  title("two more join");
  await change(() => start("poller-2", "poller-3"));

  title("kill -9 of poller-2");
  await change(() => leave("poller-2", "SIGKILL"));

  title("poller-3 is suspended in the middle of a poll");
  const suspended = await suspend("poller-3");

  title("and goes on");
  await change(() => resume(suspended));
  await until("its late poll is refused", () => suspended.news.some(({ what }) => what === "refused"));
  print("its late poll was refused: the server had heard of a higher epoch");

  title("poller-2 is started again, and poller-4 joins");
  await change(() => start("poller-2", "poller-4"));

  title("poller-1 is asked to stop, and hands over what it has");
  await change(() => leave("poller-1", "SIGTERM"));

  title("and so are the others");
  for (const name of live.keys()) leave(name, "SIGTERM");
  const codes = (await Promise.all(ends)).filter((code) => code !== "SIGKILL");
  const haveStopped = codes.every((code) => code === 0);
  print(haveStopped ? "all have ended" : `they ended with ${codes}`);
  process.exitCode = summarise() && haveStopped ? 0 : 1;
} finally {
  killPollers();
  await Promise.all(ends);
  server.close();
}

function start(...names: readonly string[]): void {
  for (const name of names) {
    const poller = startPoller({ name, database: DATABASE, serverPort: server.port, logs: LOGS });
    live.set(name, poller);
    ends.push(poller.ended);
    void poller.ended.then((code) => {
      if (live.get(name) === poller) failure = `${name} ended with ${code}.`;
    });
  }
}

function leave(name: string, signal: NodeJS.Signals): void {
  live.get(name)?.signal(signal);
  live.delete(name);
}

async function suspend(name: string): Promise<Poller> {
  const poller = live.get(name) as Poller;
  await change(async () => {
    leave(name, "SIGTSTP");
    await until("it is suspended", () => poller.news.some(({ what }) => what === "suspended"));
  });
  return poller;
}

function resume(poller: Poller): void {
  poller.signal("SIGCONT");
  live.set(poller.name, poller);
}

/** Changes who is there, waits until the feeds of those shards that move are polled again, and tells about it. */
async function change(make: () => void | Promise<void>): Promise<void> {
  // On a busy machine somebody may have lost a lease since.
  if (live.size > 0) await until("the shards are divided", () => areSettled([...live.values()]));
  const before = holders();
  const former = new Set(live.keys());
  const from = machineTime();
  await make();
  await until("the shards are divided anew", () => areSettled([...live.values()]));
  const after = holders();
  const moved = [...after.keys()].filter((shard) => before.has(shard) && before.get(shard) !== after.get(shard));
  const needless = moved.filter((shard) => former.has(after.get(shard) ?? "") && live.has(before.get(shard) ?? ""));
  print([...live.values()].map((poller) => `${poller.name} holds ${poller.shards().length}`).join(", "));
  if (moved.length > 0) print(`${moved.length} shards have moved, ${needless.length || "none"} that had no need to`);

  const feeds = FEEDS.map((feed) => ({ feed, shard: jumpHash(feed, SHARDS) }));
  const toPoll = feeds.filter(({ shard }) => before.size === 0 || moved.includes(shard));
  const gapsMs = () => toPoll.map(({ feed, shard }) => gapOf(feed, after.get(shard) as string, from));
  await until("they are polled", () => !gapsMs().includes(Number.POSITIVE_INFINITY));
  if (moved.length === 0) return;
  const [shortest, longest] = [Math.min(...gapsMs()), Math.max(...gapsMs())].map((ms) => (ms / 1_000).toFixed(1));
  print(`nobody polled their ${toPoll.length} feeds for ${shortest} to ${longest} s`);
}

/** Who holds which shard. */
function holders(): Map<number, string> {
  return new Map([...live.values()].flatMap(({ name, shards }) => shards().map((shard) => [shard, name] as const)));
}

/** How long a feed had not been polled when its new poller did, in milliseconds; for ever, as long as it did not. */
function gapOf(feed: string, poller: string, from: number): number {
  const polls = server.filed.get(feed) ?? [];
  const first = polls.findIndex((poll) => poll.poller === poller && poll.at > from);
  return first < 0 ? Number.POSITIVE_INFINITY : (polls[first]?.at ?? 0) - (polls[first - 1]?.at ?? from);
}

/** @returns whether all is as it should be. */
function summarise(): boolean {
  const { polls, feeds, pollers, overlaps, refused, dropped } = tally(mergedLogs(LOGS));
  title("by the logs of all");
  print(`${polls} polls of ${feeds} feeds by ${pollers} pollers`);
  print(`${overlaps.length || "none"} by two pollers at a time`);
  for (const overlap of overlaps) print(`  ${overlap}`);
  print(`${refused} that came too late and ${refused === 1 ? "was" : "were"} refused, ${dropped} given up before that`);
  return overlaps.length === 0 && feeds === FEEDS.length;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (const deadline = performance.now() + PATIENCE_MS; !holds(); await sleep(20)) {
    if (failure !== undefined) throw new Error(failure);
    if (performance.now() > deadline) throw new Error(`It never came about that ${what}.`);
  }
}

function title(text: string): void {
  console.log(`\n${text}`);
}

function print(text: string): void {
  console.log(`  ${text}`);
}
