import { execFile } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const INPUTS = ["src", "adapters", "tsup.config.ts", "bundled-page.ts", "third-party-notices.ts", "package.json"];

/**
 * Builds the JavaScript when it is older than its sources, because the tests that start processes of their own run what was
 * built. Declarations are not built; the package's tests build a whole package for themselves.
 *
 * @throws an error that ends with what the build said.
 */
export async function buildOnce(): Promise<void> {
  if (newest(INPUTS) < newest(["dist/index.js"])) return;
  await promisify(execFile)("npm", ["run", "build:js"], { cwd: ROOT });
}

/** When the newest file of these paths was written; never, for a path that is not there. */
function newest(paths: readonly string[]): number {
  return Math.max(0, ...paths.map((path) => writtenAt(join(ROOT, path))));
}

function writtenAt(path: string): number {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return 0;
  if (!stats.isDirectory()) return stats.mtimeMs;
  return Math.max(0, ...readdirSync(path).map((name) => writtenAt(join(path, name))));
}
