import { fileURLToPath } from "node:url";
import { buildProgram } from "../../../support/built-worker.ts";

let built: Promise<string> | undefined;

/** Makes JavaScript of `http-worker.ts`, once for the tests of a file, and gives its URL for `startWorker`. */
export function builtHttpWorker(): Promise<string> {
  built ??= buildProgram(fileURLToPath(new URL("http-worker.ts", import.meta.url)));
  return built;
}
