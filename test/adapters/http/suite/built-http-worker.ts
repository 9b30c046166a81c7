import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "tsup";
import { newFolder } from "../../../support/run-folder.ts";

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));

let built: Promise<string> | undefined;

/** Makes JavaScript of `http-worker.ts`, once for the tests of a file, and gives its URL for `startWorker`. */
export function builtHttpWorker(): Promise<string> {
  built ??= buildHttpWorker();
  return built;
}

async function buildHttpWorker(): Promise<string> {
  const folder = await newFolder("http-worker");
  // The frameworks and drivers that it loads are found from where it is.
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  await build({
    entry: { worker: fileURLToPath(new URL("http-worker.ts", import.meta.url)) },
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
