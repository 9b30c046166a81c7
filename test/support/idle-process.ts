import { memoryStore } from "../../adapters/stores/memory.ts";
import { sqliteStore } from "../../adapters/stores/sqlite.ts";
import { withIdempotency } from "../../src/index.ts";

// Uses everything that could keep a process alive, closes nothing and never calls process.exit.
for (const store of [memoryStore(), sqliteStore(process.argv[2] ?? "")]) {
  const slow = withIdempotency(
    async (_: string, ctx) => {
      await ctx.step("pause", () => new Promise((resolve) => setTimeout(resolve, 60)));
      return "done";
    },
    { store, operation: "o", inFlight: "wait", leaseMs: 30, maxWaitMs: 60_000, cache: { maxEntries: 10 } },
  );
  await Promise.all(Array.from({ length: 10 }, () => slow("input", { key: "k" })));
  const failing = withIdempotency(() => Promise.reject(new Error("no")), { store, operation: "p" });
  await failing("input", { key: "k" }).catch(() => {});
}
console.log("idle");
