import { type EvenkeelEvent, isEvenkeelError, ShardCoordinator } from "evenkeel";
import { connectToFeeds } from "./feed-client.ts";
import { EVERY_MS, FEEDS, SHARDS } from "./feeds.ts";
import { openLedger } from "./ledger.ts";
import { poll } from "./poll.ts";
import { logWriter, machineTime } from "./poll-log.ts";
import type { PollerNews } from "./pollers.ts";

/** How often it looks which feeds are due, in milliseconds. */
const TICK_MS = 50;

const [poller = "poller"] = process.argv.slice(2);
const { DATABASE = "pollers.db", SERVER_PORT = "", LOGS = "." } = process.env;
const ledger = await openLedger(DATABASE);
const feeds = connectToFeeds(Number(SERVER_PORT));
const log = logWriter(LOGS, poller);
let isToBeSuspended = false;
let isStopping = false;
let members: readonly string[] = [];
let told = "";

const shards = new ShardCoordinator({
  store: ledger.store,
  name: "feeds",
  member: poller,
  shards: SHARDS,
  // Short, so that there is something to watch. The defaults are five times as long.
  leaseDurationMs: 3_000,
  renewDeadlineMs: 2_000,
  retryPeriodMs: 400,
  onEvent: report,
});

const polling = new Set<string>();
const turns = new Map<string, number>();

/** Polls those feeds that are due and ours. They are due one after another, each once in `EVERY_MS`, whoever polls them. */
function pollDueFeeds(): void {
  const now = machineTime();
  for (const [n, feed] of FEEDS.entries()) {
    const turn = Math.floor(now / EVERY_MS + n / FEEDS.length);
    if (turn === turns.get(feed) || polling.has(feed) || !shards.owns(feed)) continue;
    turns.set(feed, turn);
    polling.add(feed);
    void pollOne(feed).finally(() => polling.delete(feed));
  }
  tellHoldings();
}

async function pollOne(feed: string): Promise<void> {
  try {
    const outcome = await poll(feed, { shards, poller, feeds, log, beforeEffect });
    if (outcome === "refused") tell({ what: "refused", feed });
  } catch (error) {
    // We were about to poll it when the shard was lost.
    if (!isEvenkeelError(error) || error.code !== "NOT_LEADER") throw error;
  }
}

function beforeEffect(feed: string): void {
  if (!isToBeSuspended) return;
  isToBeSuspended = false;
  tell({ what: "suspended", feed });
  process.kill(process.pid, "SIGSTOP");
}

function report(event: EvenkeelEvent): void {
  if (event.type === "members_changed") members = event.members.map(({ id }) => id).sort();
  else if (event.type === "shard_revoked") {
    const { shard, epoch, reason } = event;
    log({ poller, pid: process.pid, shard, epoch, at: machineTime(), what: "over", reason });
  } else if (event.type === "membership_refused" || event.type === "shard_error")
    tell({ what: "failed", error: String(event.error) });
}

/** Whom it sees, and which shards it holds, if that is not what it said last. */
function tellHoldings(): void {
  const news: PollerNews = { what: "holds", members, shards: shards.ownedShards() };
  if (JSON.stringify(news) === told) return;
  told = JSON.stringify(news);
  tell(news);
}

function tell(news: PollerNews): void {
  // Whoever started us may be gone.
  if (process.connected) process.send?.(news, () => {});
}

/** Gives the shards up as soon as the polls that run have ended, so that others take them at once. Not twice. */
async function stop(): Promise<void> {
  if (isStopping) return;
  isStopping = true;
  clearInterval(ticking);
  await shards.stop();
  feeds.close();
  await ledger.close();
  if (process.connected) process.disconnect();
}

const ticking = setInterval(pollDueFeeds, TICK_MS);
// Ctrl-C reaches the pollers, too, and the end of who started them.
for (const signal of ["SIGTERM", "SIGINT", "disconnect"] as const) process.on(signal, stop);
process.on("SIGTSTP", () => {
  isToBeSuspended = true;
});

if (process.connected === false) {
  // Who started it went before it listened.
  await stop();
} else {
  shards.start();
  tellHoldings();
}
