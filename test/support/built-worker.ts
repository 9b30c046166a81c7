import { symlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "tsup";
import { newFolder } from "./run-folder.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Makes one JavaScript file of a worker of `test/support`, for tests that start it often, and gives its URL for `startWorker`. */
export function buildWorker(name: string): Promise<string> {
  return buildProgram(join(ROOT, `test/support/${name}.ts`));
}

/** The same of any file. */
export async function buildProgram(entry: string): Promise<string> {
  const folder = await newFolder(basename(entry, ".ts"));
  // The frameworks and drivers that it loads are found from where it is.
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  await build({
    entry: { worker: entry },
    format: "esm",
    platform: "node",
    outDir: folder,
    config: false,
    silent: true,
    clean: false,
    skipNodeModulesBundle: true,
    outExtension: () => ({ js: ".mjs" }),
  });
  return pathToFileURL(join(folder, "worker.mjs")).href;
}
