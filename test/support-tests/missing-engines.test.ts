import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** A file of few tests, all of which need a Redis. */
const FILE = "test/adapters/stores/redis-cluster-settings.test.ts";

describe("a run of the tests on a machine without redis-server", () => {
  let path: string;
  beforeAll(() => {
    path = mkdtempSync(join(tmpdir(), "evenkeel-path-"));
    symlinkSync(process.execPath, join(path, "node"));
    symlinkSync("/bin/sh", join(path, "sh"));
  });
  afterAll(() => rmSync(path, { recursive: true, force: true }));

  /** Runs one file of tests with nothing but Node on the PATH. */
  function run(ci: Readonly<Record<string, string>>): Promise<{ readonly code: number; readonly lines: string[] }> {
    // Neither what this run was told about itself, nor what tells of engines.
    const own = Object.entries(process.env).filter(([name]) => !/^(CI|PATH|.*VITEST.*|EVENKEEL_.*|.*_URL)$/.test(name));
    // What clears temporary folders away needs commands that are not there.
    const env = { ...Object.fromEntries(own), PATH: path, TMPDIR: path, NO_COLOR: "1", ...ci };
    const args = ["node_modules/vitest/vitest.mjs", "run", FILE];
    return new Promise((resolve) => {
      execFile(process.execPath, args, { cwd: ROOT, env }, (error, stdout, stderr) => {
        const lines = `${stdout}\n${stderr}`.trim().split("\n");
        resolve({ code: error === null ? 0 : Number(error.code), lines });
      });
    });
  }

  it("says last what did not run and which command provides it, and fails where CI is set", async () => {
    const [passed, failed] = await Promise.all([run({}), run({ CI: "true" })]);
    for (const { lines } of [passed, failed]) {
      expect(lines.slice(lines.findIndex((line) => line.startsWith("NOT RUN")))).toEqual([
        "NOT RUN, because there is no redis-server on the PATH:",
        expect.stringMatching(/^ {2}- /),
        expect.stringMatching(/^To run them: (apt-get|brew) install redis/),
      ]);
    }
    expect({ passed: passed.code, failed: failed.code }).toEqual({ passed: 0, failed: 1 });
  });
});
