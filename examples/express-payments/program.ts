import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** A program of this folder, running in a process of its own. */
export interface Program {
  readonly url: string;
  /** Resolves once the process is gone. */
  kill(signal: "SIGTERM" | "SIGKILL"): Promise<void>;
}

const running = new Set<ChildProcess>();

// Nothing outlives the demo, however it ends.
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

/** Starts a program and waits until it says where it listens. */
export async function startProgram(file: string, env: Readonly<Record<string, string>>): Promise<Program> {
  const child = spawn(process.execPath, ["--import", "tsx", file], {
    cwd: fileURLToPath(new URL(".", import.meta.url)),
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  running.add(child);
  child.once("exit", () => running.delete(child));
  return { url: await listeningAt(child, file), kill: (signal) => kill(child, signal) };
}

/** Ends every program that still runs. */
export async function killAll(): Promise<void> {
  await Promise.all([...running].map((child) => kill(child, "SIGKILL")));
}

async function listeningAt(child: ChildProcess, file: string): Promise<string> {
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
    const [, url] = /listening on (http:\/\/[\d.:]+)/.exec(line) ?? [];
    if (url !== undefined) return url;
  }
  throw new Error(`${file} ended before it listened.`);
}

async function kill(child: ChildProcess, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill(signal);
  await gone;
}
