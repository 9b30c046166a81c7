import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { EvenkeelError, type EvenkeelErrorCode } from "evenkeel";
import { describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PROSE = [
  ...[
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "examples/express-payments/README.md",
    "examples/control-plane/README.md",
    "examples/custom-store/README.md",
    "examples/hono-fetch/README.md",
    "examples/koa-webhooks/README.md",
    "bench/README.md",
  ],
  ...pagesOf("docs"),
  ...pagesOf("docs/decisions"),
];

describe("docs/errors.md", () => {
  const sections = new Map(
    read("docs/errors.md")
      .split(/^## /m)
      .slice(1)
      .map((section) => [section.split("\n", 1)[0], section] as const),
  );
  const union = /type EvenkeelErrorCode =([^;]*);/.exec(read("src/errors.ts"))?.[1] ?? "";
  const codes = [...union.matchAll(/"([A-Z_]+)"/g)].map(([, code]) => code as EvenkeelErrorCode);

  it("has a heading for every code, and no other", () => {
    expect(codes).toContain("KEY_MISSING");
    expect([...sections.keys()].sort()).toEqual([...codes].sort());
  });

  it.each(codes)("says of %s whether it is retryable", (code) => {
    const words = sections.get(code)?.match(/\b(Not\s+retryable|Retryable)\b/g);
    expect(words).toHaveLength(1);
    expect(words?.[0] === "Retryable").toBe(new EvenkeelError(code, "").retryable);
  });
});

describe("prose", () => {
  it.each(PROSE)("%s links to files and headings that there are", (path) => {
    const broken = [...read(path).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)]
      .map(([, target = ""]) => target)
      .filter((target) => !isThere(path, target));
    expect(broken).toEqual([]);
  });

  it.each(PROSE)("%s names subpaths that there are, or says that they are coming", (path) => {
    const { exports } = JSON.parse(read("package.json")) as { exports: Record<string, unknown> };
    const imported = [...read(path).matchAll(/from "evenkeel(\/[\w/-]+)?"/g)].map(([, subpath = ""]) => `.${subpath}`);
    expect(imported.filter((subpath) => !Object.hasOwn(exports, subpath))).toEqual([]);
  });
});

function pagesOf(folder: string): string[] {
  return readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `${folder}/${name}`);
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

function isThere(from: string, target: string): boolean {
  const [file = "", heading] = target.split("#");
  const path = file === "" ? from : join(dirname(from), file);
  if (!existsSync(join(ROOT, path))) return false;
  return heading === undefined || headingsOf(path).includes(heading);
}

/** As GitHub makes anchors of them. */
function headingsOf(path: string): string[] {
  return [...read(path).matchAll(/^#+ (.*)$/gm)].map(([, text = ""]) =>
    text
      .toLowerCase()
      .replace(/[^\w\s-]/g, "")
      .replaceAll(" ", "-"),
  );
}
