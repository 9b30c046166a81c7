import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { bundledPageForVite } from "./bundled-page.ts";

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  plugins: [bundledPageForVite()],
  resolve: {
    // Tests read the sources; test/package/ reads what was built, in processes of its own.
    alias: [
      { find: /^evenkeel$/, replacement: at("src/index.ts") },
      { find: /^evenkeel\/(memory|sqlite|redis|postgres)$/, replacement: `${at("adapters/stores")}/$1.ts` },
      { find: /^evenkeel\/store$/, replacement: at("src/store-kit.ts") },
      { find: /^evenkeel\/(express|fastify|fetch|koa)$/, replacement: `${at("adapters/http")}/$1.ts` },
      { find: /^evenkeel\/open$/, replacement: at("adapters/open/open-store.ts") },
      { find: /^evenkeel\/(otel|dashboard)$/, replacement: `${at("adapters")}/$1/$1.ts` },
      { find: /^evenkeel\/testing$/, replacement: at("src/testing/index.ts") },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: "test/support/global-setup.ts",
    // Most tests wait for engines, leases and processes: on two cores a third file at once takes a fifth of the time off.
    maxWorkers: 3,
    // Tests start processes that share two cores with them.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
  },
});
