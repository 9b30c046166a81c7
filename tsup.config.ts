import { defineConfig } from "tsup";

/** One entry a subpath of the exports map in package.json. */
export default defineConfig({
  entry: {
    index: "src/index.ts",
    memory: "adapters/stores/memory.ts",
    sqlite: "adapters/stores/sqlite.ts",
    express: "adapters/http/express.ts",
    testing: "src/testing/index.ts",
  },
  format: ["esm", "cjs"],
  target: "node20",
  platform: "node",
  // Shared chunks, so that a class exists once however many subpaths are loaded.
  splitting: true,
  // node:sqlite has no other name, and other runtimes know their own modules from packages by the prefix.
  removeNodeProtocol: false,
  sourcemap: true,
  clean: true,
  // tsup sets baseUrl for its declaration build, which TypeScript 6 deprecates.
  dts: { compilerOptions: { ignoreDeprecations: "6.0" } },
});
