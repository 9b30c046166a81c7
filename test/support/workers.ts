import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** A process of its own that answers requests, one at a time or many at once. */
export interface Worker {
  readonly pid: number;
  /** Sends a request and waits for its answer; rejects when the process ends first. */
  ask<T>(request: object): Promise<T>;
  kill(signal: NodeJS.Signals): void;
  /** Resolves once the process has ended, with its exit code, or null after a signal. */
  readonly ended: Promise<number | null>;
}

const running = new Set<ChildProcess>();

/**
 * Starts a file of `test/support`, or of a `file:` URL, with the arguments given, and waits until it says that it is ready. One that is
 * JavaScript already starts several times as fast.
 */
export async function startWorker(file: string, ...args: string[]): Promise<Worker> {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const child = fork(path, args, {
    execArgv: [...(file.endsWith(".ts") ? ["--import", "tsx"] : []), "--no-warnings"],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  running.add(child);
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: unknown): void }>();
  let lastId = 0;
  const ended = once(child, "exit").then(([code]) => {
    running.delete(child);
    for (const { reject } of waiting.values()) reject(new Error("the worker ended"));
    return code as number | null;
  });
  const ready = new Promise<void>((resolve, reject) => {
    child.on("message", (message: { id: number; answer?: unknown; error?: string }) => {
      if (message.id === 0) return resolve();
      const asked = waiting.get(message.id);
      waiting.delete(message.id);
      if (message.error === undefined) asked?.resolve(message.answer);
      else asked?.reject(new Error(message.error));
    });
    ended.then((code) => reject(new Error(`the worker ended with ${code} before it was ready`)));
  });
  await ready;
  return {
    pid: child.pid as number,
    ask: <T>(request: object) =>
      new Promise<T>((resolve, reject) => {
        lastId += 1;
        waiting.set(lastId, { resolve: resolve as (value: unknown) => void, reject });
        child.send({ id: lastId, request }, (error) => error && reject(error));
      }),
    kill: (signal) => void child.kill(signal),
    ended,
  };
}

/** Ends every worker that still runs; for `afterEach`. */
export async function endWorkers(): Promise<void> {
  await Promise.all(
    [...running].map(async (child) => {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }),
  );
}

/** The worker's side: answers requests until the parent goes. */
export function serve(answer: (request: never) => unknown): void {
  process.on("message", async ({ id, request }: { id: number; request: never }) => {
    try {
      process.send?.({ id, answer: await answer(request) });
    } catch (error) {
      process.send?.({ id, error: String((error as { code?: unknown }).code ?? error) });
    }
  });
  process.on("disconnect", () => process.exit(0));
  process.send?.({ id: 0 });
}
