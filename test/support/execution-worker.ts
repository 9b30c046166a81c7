import { appendFileSync, existsSync } from "node:fs";
import { type EvenkeelError, isEvenkeelError, type LedgerStore, withIdempotency } from "../../src/index.ts";
import { faultyStore, seededRandom } from "../../src/testing/index.ts";
import { openLedger } from "./open-ledger.ts";
import { serve } from "./workers.ts";

/** One process of a service: runs idempotent calls on a ledger, and writes each effect to a file that all append to. */
const [, , url = "", effects = "", leaseMs = "30000", lostReplies = "0"] = process.argv;

/** What a worker is asked to do: so many calls of one key at once. */
export interface CallRequest {
  readonly key: string;
  readonly times: number;
  /** How long the function takes. */
  readonly workMs: number;
  /** The function keeps the event loop to itself until there is this file. Defaults to not at all. */
  readonly blockUntil?: string;
  readonly onLeaseLost?: "adopt" | "own" | "throw";
  /** Defaults to what the library does. */
  readonly storeTimeoutMs?: number;
  /** Where the process kills itself from now on, in any call. Defaults to what an earlier request said, or nowhere. */
  readonly dieAt?: "effectBegins" | "effectDone" | "completionSent" | "completionAnswered";
}

/** What the function of a worker returns: which run it was. */
export interface Run {
  readonly paidBy: number;
  readonly attempt: number;
  readonly token: number;
}

/** What became of the calls of one request. */
export interface CallAnswer {
  readonly results: readonly { readonly value: Run; readonly replayed: boolean; readonly attempt: number }[];
  /** The codes of the calls that were refused. */
  readonly errors: readonly string[];
  /** The types of the events that tell of a lost claim. */
  readonly events: readonly string[];
}

const LONGEST_BLOCK_MS = 60_000;

const ledger = await openLedger(url);
const store = dyingStore(losingReplies(ledger.store, Number(lostReplies)));
let dieAt: CallRequest["dieAt"];
const events: string[] = [];

serve(
  async ({
    key,
    times,
    workMs,
    blockUntil,
    onLeaseLost = "adopt",
    storeTimeoutMs,
    ...request
  }: CallRequest): Promise<CallAnswer> => {
    dieAt = request.dieAt ?? dieAt;
    const pay = withIdempotency(
      async (_: { amount: number }, ctx): Promise<Run> => {
        if (dieAt === "effectBegins") die();
        appendFileSync(effects, `${key} ${process.pid} ${ctx.attempt} ${ctx.fencingToken}\n`);
        if (blockUntil !== undefined) block(blockUntil);
        if (workMs > 0) await new Promise((resolve) => setTimeout(resolve, workMs));
        if (dieAt === "effectDone") die();
        return { paidBy: process.pid, attempt: ctx.attempt, token: ctx.fencingToken };
      },
      {
        store,
        operation: "pay",
        leaseMs: Number(leaseMs),
        inFlight: "wait",
        maxWaitMs: 60_000,
        onLeaseLost,
        ...(storeTimeoutMs !== undefined && { storeTimeoutMs }),
        onEvent: (event) => {
          if (event.type === "lease_lost" || event.type === "stale_write") events.push(event.type);
        },
      },
    );
    const calls = Array.from({ length: times }, () => pay.run({ amount: 1 }, { key }));
    const settled = await Promise.allSettled(calls);
    return {
      results: settled.flatMap((call) =>
        call.status === "fulfilled"
          ? [{ value: call.value.value, replayed: call.value.replayed, attempt: call.value.attempt }]
          : [],
      ),
      errors: settled.flatMap((call) => (call.status === "rejected" ? [codeOf(call.reason)] : [])),
      events: events.splice(0),
    };
  },
);

function codeOf(error: unknown): string {
  return isEvenkeelError(error) ? (error as EvenkeelError).code : String(error);
}

/** For engines without a wire: a share of the answers gets lost on the way back. */
function losingReplies(inner: LedgerStore, share: number): LedgerStore {
  if (share === 0) return inner;
  const rates = { lostReply: share };
  return faultyStore(inner, { random: seededRandom(process.pid), rates });
}

/** Dies around a completion, when asked to. */
function dyingStore(inner: LedgerStore): LedgerStore {
  const executions = Object.create(inner.executions) as LedgerStore["executions"];
  executions.complete = async (request, call) => {
    const answer = inner.executions.complete(request, call);
    if (dieAt === "completionSent") {
      // Drivers write at the end of the turn: the completion is on its way, or already there; nobody learns which.
      answer.catch(() => {});
      setImmediate(die);
      return new Promise(() => {});
    }
    const result = await answer;
    if (dieAt === "completionAnswered") die();
    return result;
  };
  return { ...inner, executions };
}

/** One that nobody tells to go on does so by itself. */
function block(file: string): void {
  const nothing = new Int32Array(new SharedArrayBuffer(4));
  for (const deadline = performance.now() + LONGEST_BLOCK_MS; !existsSync(file) && performance.now() < deadline; )
    Atomics.wait(nothing, 0, 0, 5);
}

function die(): never {
  process.kill(process.pid, "SIGKILL");
  // The signal takes effect at once; nothing after it may.
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
}
