import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** An example's service as a process, with a ledger of its own. */
export interface ExampleServer {
  /** Where it listens. */
  readonly url: string;
  /** Runs a `curl` line that it printed, and gives what came back. */
  curl(): Promise<string>;
  /** Ends it, and gives its exit code. */
  stop(signal: "SIGTERM" | "SIGKILL"): Promise<unknown>;
  /** Starts it again, on the same ledger. */
  start(): Promise<void>;
  /** Kills it and removes its ledger. */
  dispose(): Promise<void>;
}

/** Starts `server.ts` of an example, and waits until it has printed a line that matches `ready`. */
export async function startExample(name: string, ready: RegExp): Promise<ExampleServer> {
  const cwd = fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));
  const folder = await mkdtemp(join(tmpdir(), "evenkeel-example-"));
  const env = { ...process.env, PORT: "0", DATABASE: join(folder, "ledger.db") };
  let server: ChildProcess;
  let printed = "";

  async function start(): Promise<void> {
    server = spawn(process.execPath, ["--import", "tsx", "server.ts"], {
      cwd,
      env,
      stdio: ["ignore", "pipe", "ignore"],
    });
    printed = "";
    for await (const chunk of server.stdout as NodeJS.ReadableStream) {
      printed += chunk;
      if (ready.test(printed)) return;
    }
    throw new Error(`It ended before it was ready: ${printed}`);
  }

  async function stop(signal: "SIGTERM" | "SIGKILL"): Promise<unknown> {
    const ended = once(server, "exit");
    server.kill(signal);
    return (await ended)[0];
  }

  await start();
  return {
    get url() {
      return /listening on (http:\/\/[\d.:]+)/.exec(printed)?.[1] ?? "";
    },
    async curl() {
      const [line = ""] = /curl -i .*/.exec(printed) ?? [];
      return (await promisify(execFile)("sh", ["-c", `${line} --silent`])).stdout;
    },
    stop,
    start,
    async dispose() {
      if (server.exitCode === null && server.signalCode === null) await stop("SIGKILL");
      await rm(folder, { recursive: true, force: true });
    },
  };
}
