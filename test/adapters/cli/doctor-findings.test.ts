import { readdirSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";

const at = (path: string): URL => new URL(`../../../${path}`, import.meta.url);

it("explains each finding of the doctor under its name in docs/operating.md, and no other", () => {
  const sources = readdirSync(at("adapters/cli/")).filter((name) => /^doctor.*\.ts$/.test(name));
  const texts = sources.map((name) => readFileSync(at(`adapters/cli/${name}`), "utf8")).join("\n");
  const word = /"((?:sqlite|redis|pg|executions|leases|resources|group|condition|shards?)-[a-z]+(?:-[a-z]+)*)"/g;
  const ids = new Set([...texts.matchAll(word)].map(([, id]) => id));
  const [, manual = ""] = readFileSync(at("docs/operating.md"), "utf8").split("\n## What the doctor finds\n");
  const headings = new Set([...manual.matchAll(/^### ([a-z-]+)$/gm)].map(([, id]) => id));
  expect(ids.size).toBeGreaterThan(50);
  expect([...headings].toSorted()).toEqual([...ids].toSorted());
});
