import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Command } from "../../../adapters/cli/command.ts";
import { COMMANDS } from "../../../adapters/cli/commands.ts";
import type { Io } from "../../../adapters/cli/io.ts";
import { main } from "../../../adapters/cli/main.ts";
import { type Clock, systemClock } from "../../../src/clock.ts";
import { systemRandom } from "../../../src/random.ts";

/** The command as it is built. */
export const BUILT = fileURLToPath(new URL("../../../dist/cli.cjs", import.meta.url));

/** What a command line came to. */
export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** What it printed with `--json`. */
  readonly json: <T = Record<string, unknown>>() => T;
}

/** How a command line is run in this process. */
export interface RunOptions {
  /** Defaults to all there are. */
  readonly commands?: readonly Command[];
  readonly env?: Io["env"];
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
  /** Whether people sit before it. Defaults to programs. */
  readonly terminal?: boolean;
}

/** Runs a command line in this process, with nothing of it. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const stdout = captured(options.terminal ?? false);
  const stderr = captured(options.terminal ?? false);
  const status = await main(argv, options.commands ?? COMMANDS, {
    stdout: stdout.stream,
    stderr: stderr.stream,
    env: options.env ?? {},
    signal: options.signal ?? new AbortController().signal,
    clock: options.clock ?? systemClock,
    random: systemRandom,
    version: "1.2.3",
  });
  return ran(status, stdout.text(), stderr.text());
}

/** A command line in a process of its own. */
export interface Started {
  readonly child: ChildProcess;
  /** What it has printed so far. */
  stdout(): string;
  readonly ended: Promise<Ran>;
}

/** How the built command is started. */
export interface StartOptions {
  /** Another copy of it. */
  readonly cli?: string;
  readonly env?: object;
  /** As which user. Defaults to the one that runs the tests. */
  readonly uid?: number;
}

/** Starts the built command. */
export function start(argv: readonly string[], { cli = BUILT, env = {}, uid }: StartOptions = {}): Started {
  const { EVENKEEL_STORE: _, ...inherited } = process.env;
  const child = spawn(process.execPath, [cli, ...argv], {
    env: { ...inherited, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    ...(uid === undefined ? {} : { uid }),
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const ended = once(child, "close").then(([status]) => ran(status as number | null, stdout, stderr));
  return { child, stdout: () => stdout, ended };
}

/** Runs the built command, and waits for its end. */
export function runBuilt(argv: readonly string[], options: StartOptions = {}): Promise<Ran> {
  return start(argv, options).ended;
}

function ran(status: number | null, stdout: string, stderr: string): Ran {
  return { status, stdout, stderr, json: () => JSON.parse(stdout) };
}

/** A stream of a command, and what it has been given. */
export function captured(isTTY: boolean) {
  let text = "";
  const stream = new Writable({
    write(chunk, _, done) {
      text += chunk;
      done();
    },
  });
  return { stream: Object.assign(stream, { isTTY, columns: 100 }), text: () => text };
}
