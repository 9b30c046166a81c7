import { turnOfEventLoop } from "../../src/clock.ts";
import { isEvenkeelError } from "../../src/errors.ts";
import { storeOperation } from "../../src/store-operation.ts";
import { type OpenedStore, openStore } from "../open/open-store.ts";
import { acceptUrl } from "../open/store-url.ts";
import { familyAsked, type Invocation, openingOptions, readArguments } from "./arguments.ts";
import type { Command } from "./command.ts";
import { EXIT } from "./exit-status.ts";
import { failureText } from "./failure-text.ts";
import { commandText, overviewText } from "./help-text.ts";
import { Interruption, type Io } from "./io.ts";
import { createOutput, type Output } from "./output.ts";
import { unlessAborted } from "./unless-aborted.ts";
import { UsageError } from "./usage-error.ts";

/**
 * Runs one command line, and gives the status to exit with. Nothing is thrown: what went wrong is one line on stderr.
 */
export async function main(argv: readonly string[], commands: readonly Command[], io: Io): Promise<number> {
  const output = createOutput(io);
  let url = "";
  try {
    const [first, ...others] = argv;
    if (first === "--version") return printed(output, io.version);
    if (first === undefined) throw new UsageError("say a command; see evenkeel --help");
    const family = familyAsked(argv, commands);
    if (family.length > 0) return printed(output, overviewText(family));
    if (first === "--help" || first === "-h" || first === "help") {
      const asked = first === "help" && others.length > 0 ? [...others, "--help"] : undefined;
      return printed(output, asked ? commandText(readArguments(asked, commands).command) : overviewText(commands));
    }
    const invocation = readArguments(argv, commands);
    if (invocation.common.help) return printed(output, commandText(invocation.command));
    url = urlOf(invocation, io);
    return await run(invocation, url, output, io);
  } catch (error) {
    if (error instanceof Interruption) return error.exitStatus;
    output.note(`evenkeel: ${error instanceof UsageError ? error.message : failureText(error, url)}`);
    return isEvenkeelError(error) && error.code === "RECORD_CORRUPT" ? EXIT.finding : EXIT.usage;
  }
}

async function run(invocation: Invocation, url: string, output: Output, io: Io): Promise<number> {
  const { command, common, argument, options } = invocation;
  const { clock, random, signal } = io;
  const terms = { clock, random, budgetMs: common.timeout };
  let opening: Promise<OpenedStore> | undefined;
  try {
    return await command.run({
      ...{ options, argument, json: common.json, output, clock, random, signal, url },
      ...{ prefix: common.prefix, timeoutMs: common.timeout },
      store() {
        opening ??= openStore(url, openingOptions(common));
        return unlessAborted(opening, signal);
      },
      ask: (send) => storeOperation({ ...terms, signal, send }),
      conclude: (send) => storeOperation({ ...terms, send }),
    });
  } finally {
    const closing = opening?.then(
      (store) => store.close(),
      () => {},
    );
    // Whoever interrupts a command does not wait for an engine that does not answer.
    await (signal.aborted ? Promise.race([closing, turnOfEventLoop()]) : closing);
  }
}

function urlOf({ command, common }: Invocation, io: Io): string {
  const url = common.store ?? io.env["EVENKEEL_STORE"] ?? "";
  if (url === "") throw new UsageError(`${command.name}: say which ledger by --store URL or EVENKEEL_STORE`);
  if (acceptUrl(url).engine === "memory") {
    throw new UsageError(
      `${command.name}: a ledger in memory is another process's; say sqlite:, redis:// or postgres://`,
    );
  }
  return url;
}

/** Text of our own, whose lines are to stay lines. */
function printed(output: Output, text: string): number {
  for (const line of text.split("\n")) output.line(line);
  return EXIT.done;
}
