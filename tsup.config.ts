import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, isAbsolute, join } from "node:path";
import { defineConfig } from "tsup";
import { bundledPageForEsbuild } from "./bundled-page.ts";
import { notingBundled, writeNotices } from "./third-party-notices.ts";

/** The source maps of the CommonJS files name the builder's own folders, which are nobody's business. */
function forgetFolders(folder: string): void {
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".cjs.map"))) {
    const path = join(folder, file);
    const text = readFileSync(path, "utf8");
    // Another build is writing it at this moment, and comes to this after it.
    if (!text.endsWith("}")) continue;
    const map = JSON.parse(text) as { file?: string; sources: string[] };
    map.sources = map.sources.map((source) => (isAbsolute(source) ? basename(source) : source));
    if (map.file !== undefined) map.file = basename(map.file);
    writeFileSync(path, JSON.stringify(map));
  }
}

/** One entry a subpath of the exports map in package.json. */
export default defineConfig((options) => ({
  entry: {
    index: "src/index.ts",
    memory: "adapters/stores/memory.ts",
    sqlite: "adapters/stores/sqlite.ts",
    redis: "adapters/stores/redis.ts",
    postgres: "adapters/stores/postgres.ts",
    store: "src/store-kit.ts",
    express: "adapters/http/express.ts",
    fastify: "adapters/http/fastify.ts",
    fetch: "adapters/http/fetch.ts",
    koa: "adapters/http/koa.ts",
    open: "adapters/open/open-store.ts",
    otel: "adapters/otel/otel.ts",
    dashboard: "adapters/dashboard/dashboard.ts",
    cli: "adapters/cli/cli.ts",
    testing: "src/testing/index.ts",
  },
  format: ["esm", "cjs"],
  target: "node20",
  platform: "node",
  // Shared chunks, so that a class exists once however many subpaths are loaded.
  splitting: true,
  // node:sqlite has no other name, and other runtimes know their own modules from packages by the prefix.
  removeNodeProtocol: false,
  // Comments name bundled files by where they were reached, and not by where a linked folder of the machine is.
  esbuildOptions(options) {
    options.preserveSymlinks = true;
  },
  esbuildPlugins: [bundledPageForEsbuild(), notingBundled()],
  sourcemap: true,
  clean: true,
  // tsup sets baseUrl for its declaration build, which TypeScript 6 deprecates.
  dts: { compilerOptions: { ignoreDeprecations: "6.0" } },
  onSuccess: async () => {
    const folder = options.outDir ?? "dist";
    forgetFolders(folder);
    writeNotices(folder);
  },
}));
