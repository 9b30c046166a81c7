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

// What is wrong is one line on stderr: what Node and drivers warn of besides is for programmers, and the doctor's.
process.removeAllListeners("warning");

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
  if (!ending.signal.aborted) await Promise.all([process.stdout, process.stderr].map(drained));
  const { reason } = ending.signal;
  // What the command still waits for, such as a connection that it has given up, would keep the process.
  process.exit(reason instanceof Interruption ? Math.max(status, reason.exitStatus) : status);
});

/** Resolves once all that was written is gone, or nobody takes it any more. */
function drained(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    ending.signal.addEventListener("abort", () => resolve(), { once: true });
    if (stream.writableLength === 0) resolve();
    else stream.write("", () => resolve());
  });
}
