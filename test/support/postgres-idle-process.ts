import { postgresStore } from "../../adapters/stores/postgres.ts";
import { withIdempotency } from "../../src/index.ts";

// Uses everything that could keep a process alive, closes nothing and never calls process.exit.
const store = postgresStore(process.argv[2] ?? "", { tablePrefix: "idle_" });
const call = withIdempotency(() => new Promise((resolve) => setTimeout(() => resolve("done"), 60)), {
  store,
  operation: "o",
  inFlight: "wait",
  leaseMs: 30,
  maxWaitMs: 60_000,
});
await Promise.all(Array.from({ length: 10 }, () => call("input", { key: "k" })));
store.executions.watch?.("0".repeat(64), () => {});
console.log("idle");
