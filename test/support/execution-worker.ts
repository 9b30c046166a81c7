import { appendFileSync } from "node:fs";
import { sqliteStore } from "../../adapters/stores/sqlite.ts";
import { type IdempotentResult, withIdempotency } from "../../src/index.ts";
import { serve } from "./workers.ts";

/** One process of a service: runs idempotent calls on a SQLite file, and writes each effect to a file that all append to. */
const [, , database = "", effects = "", leaseMs = "30000"] = process.argv;

interface CallRequest {
  readonly key: string;
  readonly times: number;
  /** How long the function takes. */
  readonly workMs: number;
  readonly onLeaseLost?: "adopt" | "own" | "throw";
}

const store = sqliteStore(database);
const lost: string[] = [];

serve(async ({ key, times, workMs, onLeaseLost = "adopt" }: CallRequest) => {
  const pay = withIdempotency(
    async (_: { amount: number }, ctx) => {
      appendFileSync(effects, `${key} ${process.pid} ${ctx.attempt} ${ctx.fencingToken}\n`);
      if (workMs > 0) await new Promise((resolve) => setTimeout(resolve, workMs));
      return { paidBy: process.pid, attempt: ctx.attempt };
    },
    {
      store,
      operation: "pay",
      leaseMs: Number(leaseMs),
      inFlight: "wait",
      onLeaseLost,
      onEvent: (event) => {
        if (event.type === "lease_lost" || event.type === "stale_write") lost.push(event.type);
      },
    },
  );
  const results = await Promise.all(Array.from({ length: times }, () => pay.run({ amount: 1 }, { key })));
  return { results: results as IdempotentResult<unknown>[], events: lost.splice(0) };
});
