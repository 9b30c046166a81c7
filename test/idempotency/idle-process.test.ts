import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { temporaryFolder } from "../support/sqlite-files.ts";

it("a process that has used the library and closed nothing exits by itself", async () => {
  const folder = temporaryFolder();
  const script = fileURLToPath(new URL("../support/idle-process.ts", import.meta.url));
  const child = spawn(process.execPath, ["--import", "tsx", "--no-warnings", script, folder.file("ledger.db")]);
  let output = "";
  let idleAt = Number.NaN;
  child.stdout.on("data", (chunk) => {
    output += chunk;
    idleAt = performance.now();
  });
  child.stderr.on("data", (chunk) => {
    output += chunk;
  });
  // Longer than any machine needs to exit, and shorter than the timers that a leak would leave (60 s).
  const giveUp = setTimeout(() => child.kill("SIGKILL"), 30_000);
  const [code, signal] = await once(child, "exit");
  clearTimeout(giveUp);
  folder.remove();
  expect({ code, signal, output }).toEqual({ code: 0, signal: null, output: "idle\n" });
  expect(performance.now() - idleAt).toBeLessThan(15_000);
});
