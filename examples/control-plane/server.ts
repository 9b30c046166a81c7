import { setTimeout as sleep } from "node:timers/promises";
import { type EvenkeelEvent, LeaderElector } from "evenkeel";
import { openStore } from "evenkeel/open";
import { createApp } from "./app.ts";
import { orSayWhatIsWrong } from "./bad-input.ts";
import { createCopies } from "./copies.ts";
import { electionTimes } from "./election-times.ts";
import { createGroup } from "./group.ts";
import { groupsOf } from "./groups.ts";
import { ledgerIdOf } from "./ledger-id.ts";
import { listen } from "./listen.ts";
import { report } from "./report.ts";
import { settingsOf } from "./settings.ts";
import { startTelemetry } from "./telemetry.ts";
import { thingsToTry } from "./things-to-try.ts";
import { takeFolder } from "./workers-folder.ts";

const ELECTION = "control-plane";
/** How long a copy that ends waits for what it was asked, in milliseconds. */
const ANSWERS_WITHIN_MS = 5_000;

const settings = await orSayWhatIsWrong(() => settingsOf(process.argv.slice(2)));
const { name, host, port, leaseMs, orphanMs, prefix, actions, desired } = settings;
const store = await orSayWhatIsWrong(() => openStore(settings.store, prefix === undefined ? {} : { prefix }));
const ledger = await orSayWhatIsWrong(() => ledgerIdOf(store));
await orSayWhatIsWrong(() => takeFolder(settings.workers, { ledger, groups: settings.groups }));

const telemetry = startTelemetry();

function onEvent(event: EvenkeelEvent): void {
  telemetry.onEvent(event);
  report(event);
}

const elector = new LeaderElector({
  store,
  name: ELECTION,
  identity: name,
  ...electionTimes(leaseMs),
  onEvent,
});
const copies = createCopies(store, settings);
const groups = groupsOf(
  settings.groups.map((group) => createGroup(group, { settings, store, ledger, copies, leader: elector, onEvent })),
);
const app = await createApp({
  store,
  ledger,
  groups,
  copies,
  telemetry,
  copy: name,
  election: ELECTION,
  leader: elector,
  actions,
  desired,
});
const url = await orSayWhatIsWrong(() => listen(app, host, port));

copies.join(url);
elector.start();
await orSayWhatIsWrong(() => Promise.all([...groups].map((group) => group.start())));
console.log(`control plane on ${url}\n`);
for (const { text, command } of thingsToTry(url, settings.groups[0] ?? "", desired))
  console.log(`${text}\n  ${command}\n`);

/** Ends this copy. Workers go on. */
async function stop(): Promise<void> {
  const answered = app.close();
  await Promise.all([...groups].map((group) => group.stop()));
  // The others need not wait until the leases lapse.
  await Promise.all([elector.stop(), copies.leave()]);
  // Somebody may never send the rest of a request.
  await Promise.race([answered, sleep(ANSWERS_WITHIN_MS, undefined, { ref: false })]);
  app.server.closeAllConnections();
  await answered;
  await store.close();
  console.log(
    `Workers go on without it. Start it again within ${orphanMs / 1_000} s, and it takes them over; they end otherwise.`,
  );
}

let stoppingSince: number | undefined;

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    if (stoppingSince === undefined) {
      stoppingSince = performance.now();
      void stop();
    } else if (performance.now() - stoppingSince > 1_000) {
      // It was asked again. Sooner that is npm, which passes on the Ctrl-C that came from the terminal already.
      process.exit(1);
    }
  });
}
