import { setTimeout as sleep } from "node:timers/promises";
import { type EvenkeelEvent, LeaderElector } from "evenkeel";
import { openLedger } from "./ledger.ts";
import { nightlyReport } from "./report.ts";
import { slots } from "./schedule.ts";

const [name = "node"] = process.argv.slice(2);
const { DATABASE = "cron.db", ARCHIVE_URL = "", EVERY_MS = "1000", SINCE = String(Date.now()) } = process.env;
const everyMs = Number(EVERY_MS);
const lookBackMs = 60 * everyMs;
const ledger = await openLedger(DATABASE);
let isToBeSuspended = false;
let isStopping = false;

const elector = new LeaderElector({
  store: ledger.store,
  name: "nightly-report",
  identity: name,
  // Short, so that there is something to watch. The defaults are five times as long.
  leaseDurationMs: 3_000,
  renewDeadlineMs: 2_000,
  retryPeriodMs: 400,
  onStartedLeading: ({ epoch, signal }) => lead(epoch, signal),
  onStoppedLeading() {
    isToBeSuspended = false;
  },
  onEvent: report,
});

const run = nightlyReport({
  store: ledger.store,
  leader: elector,
  node: name,
  archiveUrl: ARCHIVE_URL,
  retentionMs: 2 * lookBackMs,
  say,
  beforeEffect() {
    if (!isToBeSuspended) return;
    isToBeSuspended = false;
    say("is suspended between its check and its effect");
    process.kill(process.pid, "SIGSTOP");
  },
});

/** Runs slot after slot until the signal says that this node no longer leads, or is to end. */
async function lead(epoch: number, signal: AbortSignal): Promise<void> {
  let passedOver = 0;
  for await (const slot of slots({ since: Number(SINCE), everyMs, lookBackMs, signal })) {
    while (elector.isLeader()) {
      try {
        const { replayed } = await run.run({ slot, epoch }, { signal });
        if (!replayed && passedOver > 0) say(`had passed over ${passedOver} that were done`);
        passedOver = replayed ? passedOver + 1 : 0;
        break;
      } catch (error) {
        signal.throwIfAborted();
        // This slot again, and not the next one: none is left out.
        say(`could not run ${slot}: ${error}`);
        await sleep(everyMs / 2, undefined, { signal });
      }
    }
  }
}

function report(event: EvenkeelEvent): void {
  if (event.type === "leader_started") say(`leads, epoch ${event.epoch}`);
  else if (event.type === "leader_stopped") say(`leads no longer, epoch ${event.epoch} (${event.reason})`);
  else if (event.type === "leader_error") say(`failed: ${event.error}`);
}

function say(what: string): void {
  console.log(`${name} ${what}`);
}

/** Lets go of the lease when the work has ended, so that another one leads at once. Not twice: Ctrl-C ends the demo, too. */
async function stop(): Promise<void> {
  if (isStopping) return;
  isStopping = true;
  await elector.stop();
  await ledger.close();
  say("has ended");
  if (process.connected) process.disconnect();
}

for (const signal of ["SIGTERM", "SIGINT", "disconnect"] as const) process.on(signal, stop);
process.on("SIGTSTP", () => {
  isToBeSuspended = true;
});
// Whoever read it may be gone.
process.stdout.on("error", () => {});

if (process.connected === false) {
  // Who started it went before it listened.
  await stop();
} else {
  elector.start();
  say("competes");
}
