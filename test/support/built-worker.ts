import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "tsup";
import { newFolder } from "./run-folder.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Makes one JavaScript file of a worker of `test/support`, for tests that start it often, and gives its URL for `startWorker`. */
export async function buildWorker(name: string): Promise<string> {
  const folder = await newFolder(name);
  // The drivers that it loads are found from where it is.
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  await build({
    entry: { worker: join(ROOT, `test/support/${name}.ts`) },
    format: "esm",
    platform: "node",
    outDir: folder,
    config: false,
    silent: true,
    clean: false,
    outExtension: () => ({ js: ".mjs" }),
  });
  return pathToFileURL(join(folder, "worker.mjs")).href;
}
