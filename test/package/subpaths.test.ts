import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type PackedConsumer, packedConsumer } from "../support/packed-consumer.ts";

const STORES = ["memory", "sqlite", "redis", "postgres"];
const SUBPATHS = [
  "evenkeel",
  ...STORES.map((name) => `evenkeel/${name}`),
  "evenkeel/store",
  "evenkeel/express",
  "evenkeel/fastify",
  "evenkeel/fetch",
  "evenkeel/koa",
  "evenkeel/open",
  "evenkeel/otel",
  "evenkeel/dashboard",
  "evenkeel/testing",
];
/** What can't be imported without what it is made for. */
const NEEDS_PEER = ["evenkeel/otel"];
const SHIMS = ["express", "fastify", "fetch", "koa"];

let consumer: PackedConsumer;

beforeAll(async () => {
  consumer = await packedConsumer();
}, 300_000);
afterAll(() => consumer?.dispose());

describe("the packed package", () => {
  it("has the subpaths that the tests below know", () => {
    const names = Object.keys(consumer.manifest.exports).filter((name) => name !== "./package.json");
    expect(names.map((name) => name.replace(".", "evenkeel")).sort()).toEqual([...SUBPATHS].sort());
  });

  it("holds what was built, the prose, and nothing else", () => {
    const allowed =
      /^(dist\/[\w.-]+\.(js|cjs|d\.ts|d\.cts|js\.map|cjs\.map)|docs\/[\w-]+\.md|docs\/(images|observability)\/[\w-]+\.(png|json|yml)|examples\/custom-store\/[\w-]+\.(ts|md))$/;
    const named = ["package.json", "README.md", "CHANGELOG.md", "LICENSE", "dist/third-party-notices.txt"];
    expect(consumer.files.filter((path) => !allowed.test(path) && !named.includes(path))).toEqual([]);
    expect(consumer.files).toEqual(expect.arrayContaining([...named, "dist/index.js", "dist/index.d.cts"]));
    expect(consumer.files).toContain("docs/guarantees.md");
  });

  it("names no folder of the machine that built it", async () => {
    const built = consumer.files.filter((path) => path.startsWith("dist/"));
    const texts = await Promise.all(built.map((path) => readFile(join(consumer.installed, path), "utf8")));
    const checkout = fileURLToPath(new URL("../../", import.meta.url));
    const folders = [tmpdir(), checkout.slice(0, -1), homedir()].filter((folder) => folder.length > 1);
    const telling = built.filter((_, at) => folders.some((folder) => texts[at]?.includes(`${folder}/`)));
    expect(telling).toEqual([]);
  });

  it("brings the command, which says what it lacks where no driver is installed", async () => {
    const { bin } = consumer.manifest;
    const command = join(consumer.installed, bin["evenkeel"] ?? "");
    const printed = await promisify(execFile)(process.execPath, [command, "--version"]);
    expect(printed.stdout).toMatch(/^\S*\d+\.\d+\.\d+\n$/);
    const args = [command, "leases", "list", "--store", "redis://127.0.0.1:1"];
    const refused = await promisify(execFile)(process.execPath, args, { cwd: consumer.folder }).catch((error) => error);
    expect(refused).toMatchObject({
      code: 2,
      stdout: "",
      stderr: expect.stringMatching(/^[^\n]*install redis[^\n]*\n$/),
    });
  });

  it("passes on the licences of what is bundled into it", async () => {
    const notices = await readFile(join(consumer.installed, "dist/third-party-notices.txt"), "utf8");
    for (const name of ["uplot", "cli-table3", "log-update", "cli-progress"])
      expect(notices).toMatch(new RegExp(`^${name} \\d+\\.\\d+\\.\\d+$`, "m"));
  });

  it("runs nothing on install and has no side effects on import", () => {
    const { scripts, sideEffects, dependencies } = consumer.manifest;
    const onInstall = ["preinstall", "install", "postinstall", "prepublish", "preprepare", "postprepare"];
    expect(Object.keys(scripts).filter((name) => onInstall.includes(name))).toEqual([]);
    expect(sideEffects).toBe(false);
    expect(Object.keys(dependencies)).toEqual(["zod"]);
  });
});

describe("every subpath", () => {
  it("gives ESM and CommonJS the same names, with no driver and no framework installed", async () => {
    const list = JSON.stringify(SUBPATHS.filter((path) => !NEEDS_PEER.includes(path)));
    const asEsm = await consumer.run(
      "names.mjs",
      `const names = {};
       for (const path of ${list}) names[path] = Object.keys(await import(path)).sort();
       console.log(JSON.stringify(names));`,
    );
    const asCjs = await consumer.run(
      "names.cjs",
      `const names = {};
       for (const path of ${list}) names[path] = Object.keys(require(path)).sort();
       console.log(JSON.stringify(names));`,
    );
    const names = JSON.parse(asEsm) as Record<string, string[]>;
    expect(JSON.parse(asCjs)).toEqual(names);
    expect(names["evenkeel"]).toContain("withIdempotency");
    expect(names["evenkeel/memory"]).toContain("memoryStore");
    expect(names["evenkeel/sqlite"]).toContain("sqliteStore");
    expect(names["evenkeel/express"]).toContain("idempotency");
    expect(names["evenkeel/fastify"]).toEqual(["idempotency", "openApiFragment"]);
    expect(names["evenkeel/fetch"]).toEqual(["executionOf", "idempotency", "idempotent", "openApiFragment"]);
    expect(names["evenkeel/koa"]).toEqual(["idempotency", "openApiFragment"]);
    expect(names["evenkeel/testing"]).toEqual(
      expect.arrayContaining(["ManualClock", "faultyStore", "seededRandom", "storeConformance"]),
    );
  });

  it("of telemetry asks for the API that it speaks to, and is there with it", async () => {
    const script = `import("evenkeel/otel").then(({ instrument }) => console.log(typeof instrument), ({ message }) => console.log(message));`;
    expect(await consumer.run("no-api.mjs", script)).toMatch(/^Cannot find package '@opentelemetry\/api'.*\n$/);
    await consumer.link("@opentelemetry/api");
    expect(await consumer.run("api.mjs", script)).toBe("function\n");
    expect(await consumer.run("api.cjs", 'console.log(typeof require("evenkeel/otel").instrument);')).toBe(
      "function\n",
    );
  });

  it("has types for ESM and for CommonJS", async () => {
    const imports = SUBPATHS.map((path, index) => `import * as subpath${index} from "${path}";`).join("\n");
    const use = `${imports}
      import { type IdempotentFunction, withIdempotency } from "evenkeel";
      import { memoryStore } from "evenkeel/memory";
      import type { ParameterizedContext } from "koa";
      export const all = [${SUBPATHS.map((_, index) => `subpath${index}`).join()}];
      export const charge: IdempotentFunction<{ amount: number }, string> = withIdempotency(
        async (order: { amount: number }, ctx) => ctx.deriveKey(String(order.amount)),
        { store: memoryStore(), operation: "charge" },
      );
      export const keyOf = (ctx: ParameterizedContext): string | undefined => ctx.idempotency?.key;
      // @ts-expect-error The context of Koa is extended by what it is.
      export const unkeyed = (ctx: ParameterizedContext): number | undefined => ctx.idempotency?.key;
      // @ts-expect-error An amount is a number: the declarations are there and are not \`any\`.
      export const refused = charge({ amount: "1" }, { key: "k" });
    `;
    await writeFile(join(consumer.folder, "types.mts"), use);
    await writeFile(join(consumer.folder, "types.cts"), use);
    // Its types are in the package itself.
    await consumer.link("fastify");
    const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
    const options = ["--noEmit", "--strict", "--module", "node16", "--target", "es2022", "--types", "node"];
    const compiled = promisify(execFile)(process.execPath, [tsc, ...options, "types.mts", "types.cts"], {
      cwd: consumer.folder,
    });
    await expect(compiled.catch((error: { stdout: string }) => ({ stdout: error.stdout }))).resolves.toMatchObject({
      stdout: "",
    });
  });
});

describe("a class", () => {
  const check = (load: string): string => `
    ${load}
    const errorOf = (fn) => { try { fn(); } catch (error) { return error; } };
    const errors = [
      errorOf(() => core.withIdempotency(() => 1, {})),
      errorOf(() => memory.memoryStore({ maxEntries: -1 })),
      errorOf(() => express.idempotency({})),
    ];
    console.log(errors.map((error) => error instanceof core.EvenkeelError && error.code).join());`;
  const all = "INVALID_OPTIONS,INVALID_OPTIONS,INVALID_OPTIONS";

  it("is one and the same in all subpaths of a format", async () => {
    const imported = `import * as core from "evenkeel"; import * as memory from "evenkeel/memory"; import * as express from "evenkeel/express";`;
    const required = `const core = require("evenkeel"), memory = require("evenkeel/memory"), express = require("evenkeel/express");`;
    expect((await consumer.run("identity.mjs", check(imported))).trim()).toBe(all);
    expect((await consumer.run("identity.cjs", check(required))).trim()).toBe(all);
  });

  it("is recognised by its brand in the other format", async () => {
    const printed = await consumer.run(
      "brand.mjs",
      `import { createRequire } from "node:module";
       import { EvenkeelError, isEvenkeelError } from "evenkeel";
       const other = createRequire(import.meta.url)("evenkeel");
       try {
         other.withIdempotency(() => 1, {});
       } catch (error) {
         console.log(error instanceof EvenkeelError, isEvenkeelError(error), other.isEvenkeelError(error));
       }`,
    );
    expect(printed.trim()).toBe("false true true");
  });
});

describe.each(["js", "cjs"])("what is loaded (.%s)", (extension) => {
  it("is the core and zod for the core itself", () => {
    const { text, outside } = bundleOf(`index.${extension}`);
    expect(outside.filter(isZod)).toHaveLength(1);
    expect(text).toMatch(/function withIdempotency\b/);
    expect(text).toMatch(/function createExecutor\b/);
  });

  it.each(STORES)("is neither zod nor the core for %s", (store) => {
    const { text, outside } = bundleOf(`${store}.${extension}`);
    expect(outside.filter(isZod)).toEqual([]);
    expect(text).not.toMatch(/function (withIdempotency|createExecutor|fingerprintOf)\b/);
  });

  it.each(SHIMS)("is the core without zod for %s", (shim) => {
    const { text, outside } = bundleOf(`${shim}.${extension}`);
    expect(outside.filter(isZod)).toEqual([]);
    expect(outside.filter((name) => !name.startsWith("node:"))).toEqual([]);
    expect(text).toMatch(/function createExecutor\b/);
  });
});

describe("README.md", () => {
  it("has a first example that does what its comments say", async () => {
    const readme = readFileSync(join(consumer.installed, "README.md"), "utf8");
    const [, example = ""] = /```js\n(.*?)```/s.exec(readme) ?? [];
    await consumer.link("better-sqlite3");
    const first = await consumer.run("in-a-minute.mjs", example);
    expect(first.split("\n")).toEqual([
      "charging 1000 on attempt 1",
      "receipt of order-17",
      "IN_PROGRESS",
      "receipt of order-17 true",
      "FINGERPRINT_MISMATCH",
      "",
    ]);
    expect(await consumer.run("in-a-minute.mjs", example)).not.toContain("charging");
  });
});

/** A built file with every chunk that it reaches, and what it asks of others. */
function bundleOf(entry: string): { text: string; outside: string[] } {
  const texts = new Map<string, string>();
  const outside = new Set<string>();
  const follow = (name: string): void => {
    if (texts.has(name)) return;
    const text = readFileSync(join(consumer.installed, "dist", name), "utf8");
    texts.set(name, text);
    for (const [, specifier = ""] of text.matchAll(
      /(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\(\s*)["']([^"'\n]+)["']/g,
    )) {
      if (specifier.startsWith("./")) follow(specifier.slice(2));
      else outside.add(specifier);
    }
  };
  follow(entry);
  return { text: [...texts.values()].join("\n"), outside: [...outside] };
}

function isZod(specifier: string): boolean {
  return /^zod(\/|$)/.test(specifier);
}
