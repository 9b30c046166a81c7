import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll } from "vitest";
import { chromiumPath } from "./missing-engines.ts";

const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const TELL_VIOLATIONS = `addEventListener("securitypolicyviolation", ({ violatedDirective, sourceFile, lineNumber }) => {
  console.error("policy: " + violatedDirective + " in " + sourceFile + ":" + lineNumber);
});`;

/** A page of a browser, and all that it complained of: errors of scripts, refused files, broken rules of its security policy. */
export interface WatchedPage {
  readonly page: Page;
  readonly faults: string[];
}

/** Starts the system's Chromium, without a window. */
export function launchChromium(): Promise<Browser> {
  const executablePath = chromiumPath();
  if (executablePath === undefined) throw new Error("there is no Chromium on the PATH");
  return chromium.launch({ executablePath, args: ARGUMENTS });
}

/** One browser for the tests of a file, and for each page that is opened a profile of its own, gone after the test. */
export function useChromium(): { open(url: string, options?: BrowserContextOptions): Promise<WatchedPage> } {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterEach(async () => {
    for (const context of browser.contexts()) await context.close();
  });
  afterAll(() => browser.close());
  return {
    async open(url, options = {}) {
      const context = await browser.newContext(options);
      const page = await context.newPage();
      const faults: string[] = [];
      page.on("pageerror", (error) => faults.push(String(error)));
      page.on("console", (message) => {
        if (["error", "warning"].includes(message.type())) faults.push(message.text());
      });
      page.on("response", (response) => {
        if (response.status() >= 400) faults.push(`${response.status()} ${response.url()}`);
      });
      await page.addInitScript({ content: TELL_VIOLATIONS });
      await page.goto(url);
      return { page, faults };
    },
  };
}
