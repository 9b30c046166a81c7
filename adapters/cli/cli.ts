#!/usr/bin/env node
import { version } from "evenkeel/package.json";
import { systemClock, turnOfEventLoop } from "../../src/clock.ts";
import { systemRandom } from "../../src/random.ts";
import { COMMANDS } from "./commands.ts";
import { EXIT } from "./exit-status.ts";
import { Interruption } from "./io.ts";
import { main } from "./main.ts";

const ending = new AbortController();

// The second signal ends the process at once, as it would without us.
process.once("SIGINT", () => ending.abort(new Interruption(EXIT.interrupted)));
process.once("SIGTERM", () => ending.abort(new Interruption(EXIT.terminated)));
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    // Whoever reads has enough: `| head`.
    if (error.code === "EPIPE") return ending.abort(new Interruption(EXIT.done));
    if (stream === process.stdout) process.stderr.write(`evenkeel: the output can't be written: ${error.code}\n`);
    ending.abort(new Interruption(EXIT.usage));
  });
}

main(process.argv.slice(2), COMMANDS, {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  signal: ending.signal,
  clock: systemClock,
  random: systemRandom,
  version,
}).then(async (status) => {
  // What could not be written is known a little later.
  await turnOfEventLoop();
  const { aborted, reason } = ending.signal;
  process.exitCode = reason instanceof Interruption ? Math.max(status, reason.exitStatus) : status;
  // What an interrupted command still waits for would keep the process.
  if (aborted) process.exit();
});
