import { execFileSync } from "node:child_process";
import { type Browser, chromium } from "playwright-core";

/** Starts the Chromium of the system, or the one that `CHROMIUM` names, without a window. */
export function headlessChromium(): Promise<Browser> {
  const executablePath =
    process.env["CHROMIUM"] ??
    execFileSync("sh", ["-c", "command -v chromium || command -v chromium-browser"]).toString();
  return chromium.launch({
    executablePath: executablePath.trim(),
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
  });
}
