import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runFolder } from "./run-folder.ts";

/** How to start a server. */
export interface ServerCommand {
  readonly command: string;
  readonly args: readonly string[];
  /** The server's own folder, below the run's; its output goes to `log` in it. */
  readonly folder: string;
  /** The user to run as, where it is not the one of this process. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
  /** Ends it at once when the run sweeps. Defaults to SIGKILL. */
  readonly sweepWith?: "KILL" | "QUIT";
  /** Whether it answers; asked until it says yes. An error is a no. */
  readonly ready: () => Promise<boolean>;
}

/** A server that answers. */
export interface ServerProcess {
  readonly pid: number;
  /** Resolves once the process has ended. */
  readonly ended: Promise<void>;
  signal(signal: NodeJS.Signals): void;
}

const READY_WITHIN_MS = 30_000;
const stoppable = new Set<{ stop(): Promise<void> }>();

/**
 * Starts a server and waits until it answers.
 *
 * @throws an error that ends with the last lines of the server's log, when the process ends first or takes over 30 s.
 */
export async function startServerProcess(options: ServerCommand): Promise<ServerProcess> {
  const { command, args, folder, owner, sweepWith, ready } = options;
  const logPath = join(folder, "log");
  const log = openSync(logPath, "a");
  // Its own process group: Ctrl-C is for the test run, which ends its servers after its tests.
  const child = spawn(command, args, { ...owner, cwd: folder, detached: true, stdio: ["ignore", log, log] });
  closeSync(log);
  let running = true;
  const ended = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  }).then(() => {
    running = false;
    forget(child.pid);
  });
  record(child.pid, sweepWith);
  const deadline = Date.now() + READY_WITHIN_MS;
  while (!(await ready().catch(() => false))) {
    if (running && Date.now() < deadline) {
      await Promise.race([sleep(10), ended]);
      continue;
    }
    child.kill("SIGKILL");
    const said = readFileSync(logPath, "utf8").trimEnd().split("\n").slice(-20).join("\n");
    throw new Error(`${command} ${running ? "did not get ready" : "ended before it was ready"}:\n${said}`);
  }
  return {
    pid: pidOf(child),
    ended,
    signal: (signal) => void child.kill(signal),
  };
}

/** Notes a process for the sweep at the end of the run, and the signal that it gets then. */
export function record(pid: number | undefined, signal: "KILL" | "QUIT" = "KILL"): void {
  if (pid !== undefined) writeFileSync(join(runFolder(), "pids", String(pid)), signal);
}

/** Takes a process off the list of what to sweep. */
export function forget(pid: number | undefined): void {
  if (pid !== undefined) rmSync(join(runFolder(), "pids", String(pid)), { force: true });
}

/** Has `endServers` stop this one. */
export function endLater(server: { stop(): Promise<void> }): void {
  stoppable.add(server);
}

/** No longer has `endServers` stop this one. */
export function ended(server: { stop(): Promise<void> }): void {
  stoppable.delete(server);
}

/** Stops every server that this process has started and not stopped; for `afterAll` and `afterEach`. */
export async function endServers(): Promise<void> {
  await Promise.all([...stoppable].map((server) => server.stop()));
}

const given = new Set<number>();

/**
 * A loopback port that is free now, another one each time. Another process may take it first, so a start on it is tried again
 * on another.
 */
export async function freePort(): Promise<number> {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as { port: number };
  listener.close();
  await once(listener, "close");
  if (given.has(port)) return freePort();
  given.add(port);
  return port;
}

/** Runs a start on a free port, and again on another when the port was taken meanwhile. */
export async function onFreePort<T>(start: (port: number) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await start(await freePort());
    } catch (error) {
      if (attempt === 3 || !/address already in use/i.test(String(error))) throw error;
    }
  }
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error("the process was not started");
  return child.pid;
}
