import { memoryStore } from "../../adapters/stores/memory.ts";
import { Reconciler } from "../../src/index.ts";

// Stops in the middle of a pass, closes nothing and never calls process.exit.
const running = new Set<string>();
const reconciler = new Reconciler({
  name: "web",
  store: memoryStore(),
  resyncIntervalMs: 600_000,
  create: async ({ id }) => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    running.add(id);
  },
  terminate: async ({ id }) => void running.delete(id),
});
await reconciler.setDesired(3);
reconciler.start();
while (running.size < 1) await new Promise((resolve) => setTimeout(resolve, 5));
await reconciler.stop();
reconciler.start();
while (running.size < 3) await new Promise((resolve) => setTimeout(resolve, 5));
await reconciler.stop();
console.log(`stopped, ${running.size} running`);
