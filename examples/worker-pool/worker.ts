import { setTimeout as sleep } from "node:timers/promises";
import { ResourceLedger } from "evenkeel";
import { sqliteStore } from "evenkeel/sqlite";

const [database = "", id = "", incarnation = ""] = process.argv.slice(2);
const ledger = new ResourceLedger({ store: sqliteStore(database), group: "worker" });
let isDeaf = false;

function say(what: string): void {
  console.log(`${id}#${incarnation} (process ${process.pid}) ${what}`);
}

function end(why: string): never {
  say(`ends: ${why}`);
  process.exit(0);
}

process.on("SIGTERM", () => (isDeaf ? say("does not listen") : end("it was asked to")));
process.on("disconnect", () => end("its pool is gone"));
// Ctrl-C reaches the workers, too. It is the pool that ends them.
process.on("SIGINT", () => {});
process.on("SIGUSR2", () => {
  isDeaf = true;
});
// Between two beats and not within one, which would keep the ledger locked for as long as we are stopped.
process.on("SIGTSTP", () => process.kill(process.pid, "SIGSTOP"));

// It may have gone before we listened.
if (!process.connected) end("its pool is gone");

for (let beats = 0; ; beats += 1) {
  try {
    const { accepted, superseded } = await ledger.heartbeat(id, { incarnation: Number(incarnation) });
    if (!accepted) end(superseded ? "it was replaced" : "nobody knows it");
    if (beats === 0) say("is at work");
  } catch (error) {
    say(`could not beat: ${error}`);
  }
  await sleep(1_000);
}
