import { describe, expect, it } from "vitest";
import { readSource, resolveImport, type SourceFile, sourceFiles } from "../support/source-file.ts";

const LIBRARY = sourceFiles("src", "adapters");

/** What runs in browsers has their clock. */
const ON_NODE = LIBRARY.filter(({ path }) => !path.startsWith("adapters/dashboard/page/"));

const LEAVES = ["errors", "clock", "random", "events", "metric-sample"].map((part) => `src/${part}.ts`);
const RESOURCES = ["record", "writes", "heartbeats", "changes"].map((part) => `src/resource-${part}.ts`);
const RECORDS = ["src/execution-record.ts", "src/lease-record.ts", "src/unconfirmed-grant.ts", ...RESOURCES];
/** What every part of the core may use. */
const CORE = ["abort-listeners", "codec", "digest", "rejections", "sharded-map", "store-operation"].map(
  (part) => `src/${part}.ts`,
);
const CONTRACT = [...LEAVES, "src/store.ts", ...RECORDS, "src/option-rules.ts", ...CORE];

/** Who may import whom of ours: the first line whose pattern fits a file holds for it. */
const DIRECTIONS: readonly { readonly files: RegExp; readonly mayImport: readonly (string | RegExp)[] }[] = [
  {
    files: /^src\/(errors|clock|random|metric-sample|digest|shown-text|abort-listeners|rejections|sharded-map)\.ts$/,
    mayImport: [],
  },
  { files: /^src\/events\.ts$/, mayImport: ["src/rejections.ts", "src/metric-sample.ts"] },
  { files: /^src\/store\.ts$/, mayImport: LEAVES },
  { files: /^src\/option-rules\.ts$/, mayImport: ["src/errors.ts"] },
  { files: /^src\/(execution|lease)-record\.ts$/, mayImport: ["src/errors.ts", "src/store.ts"] },
  { files: /^src\/codec\.ts$/, mayImport: ["src/execution-record.ts"] },
  { files: /^src\/store-operation\.ts$/, mayImport: [...LEAVES, "src/store.ts", "src/abort-listeners.ts"] },
  { files: /^src\/unconfirmed-grant\.ts$/, mayImport: ["src/store.ts"] },
  { files: /^src\/resource-\w+\.ts$/, mayImport: ["src/store.ts", ...RESOURCES] },
  {
    files: /^src\/(store-kit\.ts$|keyed\/)/,
    mayImport: ["src/errors.ts", "src/store.ts", ...RECORDS, "src/option-rules.ts", /^src\/keyed\//],
  },
  { files: /^src\/options\.ts$/, mayImport: [...LEAVES, "src/store.ts", "src/option-rules.ts"] },
  { files: /^src\/(idempotency)\//, mayImport: [...CONTRACT, "src/options.ts", /^src\/idempotency\//] },
  { files: /^src\/resources\//, mayImport: [...CONTRACT, "src/options.ts", /^src\/resources\//] },
  { files: /^src\/coordination\//, mayImport: [...CONTRACT, "src/options.ts", /^src\/coordination\//] },
  { files: /^src\/reconcile\//, mayImport: [...CONTRACT, "src/options.ts", /^src\/(resources|reconcile)\//] },
  { files: /^src\/testing\//, mayImport: [...CONTRACT, "src/options.ts", /^src\/(idempotency|testing)\//] },
  { files: /^src\/index\.ts$/, mayImport: [/^src\/(?!testing\/|store-kit|keyed\/)/] },
  {
    files: /^adapters\/stores\//,
    mayImport: [
      "src/errors.ts",
      "src/events.ts",
      "src/store.ts",
      "src/clock.ts",
      "src/random.ts",
      "src/sharded-map.ts",
      ...RECORDS,
      "src/option-rules.ts",
      /^adapters\/stores\//,
    ],
  },
  {
    files: /^adapters\/open\//,
    mayImport: ["src/errors.ts", "src/store.ts", "src/clock.ts", "src/option-rules.ts", /^adapters\/(open|stores)\//],
  },
  {
    files: /^adapters\/otel\//,
    mayImport: ["src/errors.ts", "src/events.ts", "src/metric-sample.ts", "src/option-rules.ts", /^adapters\/otel\//],
  },
  // The page runs in browsers: of the server it knows no more than what it is told, and how names are shown.
  {
    files: /^adapters\/dashboard\/page\//,
    mayImport: ["adapters/dashboard/dashboard-update.ts", "src/shown-text.ts", /^adapters\/dashboard\/page\//],
  },
  {
    files: /^adapters\/dashboard\//,
    mayImport: [
      ...CONTRACT,
      "src/idempotency/settle-by-force.ts",
      /^src\/(resources|reconcile|coordination)\//,
      /^adapters\/dashboard\//,
    ],
  },
  {
    files: /^adapters\/cli\//,
    mayImport: [
      ...CONTRACT,
      "src/shown-text.ts",
      /^src\/(idempotency|resources|reconcile|coordination)\//,
      /^adapters\/(cli|open|stores)\//,
    ],
  },
  { files: /^adapters\/http\//, mayImport: ["src/errors.ts", /^src\/idempotency\/http/, /^adapters\/http\//] },
];

const CLOCK_ONLY =
  /^(Date\.now|Date\(\)|new Date\(\)|performance|setTimeout|setInterval|setImmediate|process\.(hrtime|uptime)|AbortSignal\.timeout)$/;
const RANDOM_ONLY = /^(Math\.random|randomBytes|randomUUID|randomInt|randomFill|randomFillSync|getRandomValues)$/;

describe("who may import whom", () => {
  it.each(LIBRARY.map((file) => [file.path, file] as const))("%s", (path, file) => {
    const direction = DIRECTIONS.find(({ files }) => files.test(path));
    expect(direction, `no direction is laid down for ${path}`).toBeDefined();
    const allowed = direction?.mayImport ?? [];
    const forbidden = ownImports(file).filter((target) => !allowed.some((pattern) => fits(target, pattern)));
    expect(forbidden).toEqual([]);
  });

  it("knows no circle, of values or of types", () => {
    expect(circlesOf(LIBRARY)).toEqual([]);
  });

  it("lets only src/options.ts import zod", () => {
    const importers = LIBRARY.filter(({ imports }) => imports.some((name) => /^zod(\/|$)/.test(name)));
    expect(importers.map(({ path }) => path)).toEqual(["src/options.ts"]);
  });

  it("lets examples and benchmarks import the library as a user would", () => {
    for (const file of sourceFiles("examples", "bench")) {
      const [folder] = /^(examples\/[^/]+|bench)/.exec(file.path) ?? [];
      const reachesOut = ownImports(file).filter((target) => !target.startsWith(`${folder}/`));
      expect(reachesOut, file.path).toEqual([]);
    }
  });
});

describe("time and chance", () => {
  it("are touched by src/clock.ts and src/random.ts alone", () => {
    expect(touchers(ON_NODE, CLOCK_ONLY)).toEqual(["src/clock.ts"]);
    expect(touchers(ON_NODE, RANDOM_ONLY)).toEqual(["src/random.ts"]);
    const modules = /^(node:)?(timers|perf_hooks)(\/|$)/;
    expect(ON_NODE.filter(({ imports }) => imports.some((name) => modules.test(name)))).toEqual([]);
  });

  it.each([
    ["Date.now()", CLOCK_ONLY],
    ["new Date()", CLOCK_ONLY],
    ["const { now } = performance;", CLOCK_ONLY],
    ["globalThis.x = setTimeout;", CLOCK_ONLY],
    ["setImmediate(() => {});", CLOCK_ONLY],
    ["Math.random()", RANDOM_ONLY],
    ['import { randomUUID } from "node:crypto"; randomUUID();', RANDOM_ONLY],
  ])("would be found out in `%s`", (text, pattern) => {
    expect(touchers([readSource("src/made-up.ts", text)], pattern)).toEqual(["src/made-up.ts"]);
  });

  it("are not seen in dates that are values", () => {
    const text = "const at = new Date(0); if (at instanceof Date) at.getTime(); type T = Date;";
    expect(touchers([readSource("src/made-up.ts", text)], CLOCK_ONLY)).toEqual([]);
  });
});

describe("imports", () => {
  it("are seen in every form", () => {
    const { imports } = readSource(
      "src/made-up.ts",
      `import a from "./a.ts"; import type { B } from "./b.ts"; export * from "./c.ts"; export type { D } from "./d.ts";
       const e = await import("./e.ts"); type F = import("./f.ts").F; const g = require("./g.ts"); import "./h.ts";`,
    );
    expect(imports.join()).toBe("./a.ts,./b.ts,./c.ts,./d.ts,./e.ts,./f.ts,./g.ts,./h.ts");
  });

  it("that go round are found out", () => {
    const a = readSource("src/a.ts", 'import type { B } from "./b.ts";');
    const b = readSource("src/b.ts", 'export * from "./deep/c.ts";');
    const c = readSource("src/deep/c.ts", 'import "../a.ts";');
    expect(circlesOf([a, b, c])).toEqual(["src/a.ts > src/b.ts > src/deep/c.ts > src/a.ts"]);
  });
});

describe("file names", () => {
  const all = sourceFiles("src", "adapters", "test", "examples", "bench").map(({ path }) => path);

  it("are kebab-case", () => {
    const odd = all.filter((path) => !path.split("/").every((part) => /^[a-z0-9]+([-.][a-z0-9]+)*$/.test(part)));
    expect(odd).toEqual([]);
  });

  it("say what a file is about", () => {
    const vague = /(^|\/)(utils?|helpers?|common|types?|lib|interfaces?)(\.|\/|$)/;
    expect(all.filter((path) => vague.test(path))).toEqual([]);
  });
});

function ownImports(file: SourceFile): string[] {
  return file.imports.flatMap((specifier) => resolveImport(file, specifier) ?? []);
}

function fits(path: string, pattern: string | RegExp): boolean {
  return typeof pattern === "string" ? path === pattern : pattern.test(path);
}

function touchers(files: readonly SourceFile[], pattern: RegExp): string[] {
  return files.filter(({ touches }) => touches.some((name) => pattern.test(name))).map(({ path }) => path);
}

/** Every circle of imports that a walk from each file comes upon, each once. */
function circlesOf(files: readonly SourceFile[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const done = new Set<string>();
  const circles: string[] = [];
  const walk = (path: string, trail: readonly string[]): void => {
    const file = byPath.get(path);
    if (file === undefined || done.has(path)) return;
    if (trail.includes(path)) {
      circles.push([...trail.slice(trail.indexOf(path)), path].join(" > "));
      return;
    }
    for (const target of ownImports(file)) walk(target, [...trail, path]);
    done.add(path);
  };
  for (const { path } of files) walk(path, []);
  return circles;
}
