import { setTimeout as delay } from "node:timers/promises";
import { EvenkeelError, type KeyedTransaction, keyedStore, type LedgerStore, recordCorrupt } from "evenkeel/store";

/** One step that somebody waits for. It is done again from the start when another process was faster. */
interface Job {
  readonly work: (tx: KeyedTransaction) => unknown;
  readonly deadline: number;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/**
 * A ledger in one object of an object store: whatever answers `GET` with an `ETag` and takes a `PUT` with `If-Match`, as S3, R2,
 * Google Cloud Storage and Azure Blob Storage do. A step reads the object, changes its copy, and writes it back if nobody else
 * did in between. No lock that a crash could leave behind, and any number of processes.
 *
 * @param url - of the object. It appears with the first write.
 * @param now - the ledger's clock in epoch milliseconds; every process on one object needs the same. Defaults to the machine's.
 */
export function bucketStore(url: string, now: () => number = Date.now): LedgerStore {
  let queue: Job[] = [];
  let running: Promise<void> | undefined;

  /** What is asked for while a step is under way shares the next one: one round trip for many. */
  async function run(): Promise<void> {
    while (queue.length > 0) {
      // Taken before the object is read: nobody is answered from a state older than the question.
      const batch = queue;
      queue = [];
      try {
        if (!(await step(url, batch))) {
          queue.unshift(...batch);
          await delay(Math.random() * 20);
        }
      } catch (error) {
        // A reply is lost, and perhaps not its request. No error of the store's own: it says "unknown" to the caller, who repeats.
        for (const job of batch) job.reject(error);
      }
    }
    running = undefined;
  }

  return keyedStore({
    name: "bucketStore",
    now,
    transact: <T>(work: (tx: KeyedTransaction) => T, { timeoutMs }: { readonly timeoutMs: number }) => {
      return new Promise<T>((resolve, reject) => {
        const deadline = performance.now() + timeoutMs;
        queue.push({ work, deadline, resolve: resolve as (value: unknown) => void, reject });
        running ??= run();
      });
    },
    close: async () => running,
  });
}

/** Does a batch in one step. @returns whether it happened: not when somebody else wrote in between, and nothing was kept. */
async function step(url: string, batch: readonly Job[]): Promise<boolean> {
  const patience = Math.max(1, ...batch.map(({ deadline }) => Math.ceil(deadline - performance.now())));
  const signal = AbortSignal.timeout(patience);
  const read = await fetch(url, { signal });
  const body = await read.text();
  if (!read.ok && read.status !== 404) throw new Error(`GET answered ${read.status}`);
  const texts = read.ok ? textsOf(body) : new Map<string, string>();
  const outcomes = batch.map((job) => carryOut(job, texts));

  if (outcomes.some(({ wrote }) => wrote)) {
    const headers = read.ok ? { "If-Match": read.headers.get("ETag") ?? "" } : { "If-None-Match": "*" };
    const replaced = await fetch(url, { method: "PUT", headers, body: JSON.stringify([...texts]), signal });
    await replaced.arrayBuffer();
    if (replaced.status === 412) return false;
    if (!replaced.ok) throw new Error(`PUT answered ${replaced.status}`);
  }
  for (const { settle } of outcomes) settle();
  return true;
}

/** Does one job on the texts. One that fails leaves them as they were. */
function carryOut(job: Job, texts: Map<string, string>): { readonly wrote: boolean; readonly settle: () => void } {
  const draft = new Map<string, string | undefined>();
  const get = (key: string): string | undefined => (draft.has(key) ? draft.get(key) : texts.get(key));
  try {
    // What was not begun in time is not begun. Without a cause this says that nothing was done.
    if (performance.now() >= job.deadline) throw new EvenkeelError("STORE_UNAVAILABLE", "The bucket was busy.");
    const value = job.work({
      get,
      set: (key, text) => draft.set(key, text),
      delete: (key) => draft.set(key, undefined),
      keys: (prefix) => {
        const keys = new Set([...texts.keys(), ...draft.keys()]);
        return [...keys].filter((key) => key.startsWith(prefix) && get(key) !== undefined);
      },
    });
    for (const [key, text] of draft) text === undefined ? texts.delete(key) : texts.set(key, text);
    return { wrote: draft.size > 0, settle: () => job.resolve(value) };
  } catch (error) {
    return { wrote: false, settle: () => job.reject(error) };
  }
}

function textsOf(body: string): Map<string, string> {
  try {
    return new Map(JSON.parse(body));
  } catch {
    throw recordCorrupt("the object is not a ledger");
  }
}
