import type { Page } from "playwright-core";
import { expect, it } from "vitest";
import { shownName } from "../../../src/shown-text.ts";
import { useChromium } from "../../support/chromium.ts";
import { describeChromium } from "../../support/engines.ts";
import { become, putRows } from "./ledger-rows.ts";
import { panelOf, rowsOf, usePageLedger } from "./page-set-up.ts";

const HOSTILE = [
  '<img src="x" onerror="document.title = 1">',
  "</script><script>document.title = 2</script>",
  "\u202Eright to left",
  "no\u200Bthing",
  "مرحبا",
  "w".repeat(255),
  "&amp; a 'quote' \"or\" two",
];

/** The contrast of each text in sight with what is behind it, where it is under what WCAG 2.2 asks for (1.4.3, AA). */
const FAINT = `(() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b]
    .map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")].flatMap((element) => {
    const isText = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim() !== "");
    if (!isText || !element.checkVisibility() || element.closest(":disabled, .unseen") !== null) return [];
    const [a, b] = [luminance(channels(getComputedStyle(element).color)), luminance(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    return ratio < 4.5 ? [element.className + " " + element.textContent + " " + ratio.toFixed(2)] : [];
  });
})()`;

/** How each name is set off from what stands around it. */
const DIRECTIONS = `[...document.querySelectorAll(".resource bdi, .card .name")].map((node) => getComputedStyle(node).unicodeBidi)`;

describeChromium("the looks of the dashboard's page", () => {
  const browser = useChromium();
  const { ledger, reconciler, serve } = usePageLedger();

  async function lively(): Promise<string> {
    await putRows(ledger(), "worker", ["a", "b", "c", ...HOSTILE]);
    await become(ledger(), "worker", "a", "FAILED");
    await become(ledger(), "worker", "b", "TERMINATING");
    await putRows(ledger(), HOSTILE[0] as string, ["one"]);
    const held = reconciler({
      name: "worker",
      create: async () => {},
      terminate: async () => {},
    });
    held.pause();
    await held.setDesired(12);
    await held.reconcile();
    const note = { text: "Lower desired <b>from 10 to 5</b>", command: `curl ${"x".repeat(300)}` };
    const runbook = { text: `See https://ops.example.com/runbooks/${"a".repeat(90)}` };
    const { url } = await serve({ reconcilers: [held], notes: [note, runbook], title: "<i>control</i> plane" });
    return `${url}#group=worker`;
  }

  const untilShown = (page: Page) =>
    expect.poll(async () => (await rowsOf(panelOf(page, "resources"))).length).toBeGreaterThan(HOSTILE.length);
  const colourOf = (page: Page, selector: string, property: string) =>
    page.evaluate<string>(`getComputedStyle(document.querySelector(${JSON.stringify(selector)})).${property}`);
  const overflow = (page: Page) =>
    page.evaluate<number>("document.documentElement.scrollWidth - document.documentElement.clientWidth");

  it("takes whatever names there are for text", async () => {
    const { page, faults } = await browser.open(await lively());
    await untilShown(page);
    const rows = await rowsOf(panelOf(page, "resources"));
    const names = rows.map(([name]) => name);
    for (const id of HOSTILE) expect(names).toContain(`${shownName(id)}#1`);
    // One that turns letters round, or hides some, can't pass for another.
    expect(names).toContain("\\u202eright to left#1");
    expect(await page.locator("body").textContent()).not.toMatch(/\p{Cf}/u);
    expect(await page.locator("img, script:not([src])").count()).toBe(0);
    expect(await page.locator("h1").textContent()).toBe("<i>control</i> plane");
    expect(await page.title()).toBe("(1) <i>control</i> plane");
    expect(await page.locator(".notes li span").first().textContent()).toBe("Lower desired <b>from 10 to 5</b>");
    expect(await page.locator(".card .name").allTextContents()).toEqual([HOSTILE[0], "worker"]);
    // A text from right to left turns nothing around but itself.
    expect(new Set(await page.evaluate<string[]>(DIRECTIONS))).toEqual(new Set(["isolate"]));
    await page.locator(".card").first().click();
    await expect.poll(() => page.locator(".group-name").textContent()).toBe(HOSTILE[0]);
    await expect.poll(async () => (await rowsOf(panelOf(page, "resources"))).map(([name]) => name)).toEqual(["one#1"]);
    expect(faults).toEqual([]);
  });

  it("leaves a gap in a group's bar for those that are missing", async () => {
    const { page } = await browser.open(await lively());
    const shares = () =>
      page.evaluate<number[]>(
        "[...document.querySelectorAll('.card[aria-current] .bar span')].map((part) => Number(part.style.flexGrow))",
      );
    const provisioned = 1 + HOSTILE.length;
    // One has failed and one is about to go: it is not among the twelve.
    await expect.poll(shares).toEqual([0, provisioned, 1, 1, 12 - provisioned - 1]);
  });

  it.each([360, 768, 1_280])("fits %i pixels, with nothing to scroll sideways", async (width) => {
    const { page, faults } = await browser.open(await lively(), { viewport: { width, height: 720 } });
    await untilShown(page);
    const notes = page.locator(".notes");
    // On a phone they would take the whole screen.
    expect(await notes.evaluate((box) => box.hasAttribute("open"))).toBe(width > 640);
    if (width <= 640) await notes.locator("summary").click();
    await notes.getByText("runbooks").waitFor();
    expect(await overflow(page)).toBeLessThanOrEqual(0);
    for (const row of await page.locator(".scroller").all())
      expect(await row.evaluate((box) => box.scrollWidth - box.clientWidth)).toBeLessThanOrEqual(0);
    // The chart goes with it, also when the window gets another size.
    await page.setViewportSize({ width: width - 40, height: 720 });
    await expect
      .poll(async () => {
        const [chart, panel] = await Promise.all([
          page.locator(".uplot").boundingBox(),
          page.locator(".chart").boundingBox(),
        ]);
        return (chart?.width ?? 0) <= (panel?.width ?? 0) && (chart?.width ?? 0) > (panel?.width ?? 0) - 60;
      })
      .toBe(true);
    expect(await overflow(page)).toBeLessThanOrEqual(0);
    expect(faults).toEqual([]);
  });

  it("is dark where the system is, and turns with it, with every text to be read", async () => {
    const { page, faults } = await browser.open(await lively(), { colorScheme: "light" });
    await untilShown(page);
    expect(await colourOf(page, "body", "backgroundColor")).toBe("rgb(238, 241, 244)");
    expect(await colourOf(page, "body", "color")).toBe("rgb(23, 33, 43)");
    expect(await page.evaluate(FAINT)).toEqual([]);
    await page.emulateMedia({ colorScheme: "dark" });
    expect(await colourOf(page, "body", "backgroundColor")).toBe("rgb(12, 17, 22)");
    expect(await colourOf(page, "body", "color")).toBe("rgb(228, 234, 239)");
    expect(await page.evaluate(FAINT)).toEqual([]);
    expect(faults).toEqual([]);
  });

  it("moves nothing for those who want it so, and is walked through by the keyboard", async () => {
    const { page } = await browser.open(await lively(), { reducedMotion: "reduce" });
    await untilShown(page);
    expect(await colourOf(page, ".bar span", "transitionDuration")).toBe("0s");
    const seen: string[] = [];
    for (let presses = 0; presses < 40 && !seen.includes("checkbox"); presses += 1) {
      await page.keyboard.press("Tab");
      seen.push(await page.evaluate<string>("document.activeElement.type || document.activeElement.tagName"));
      const isOutlined = await page.evaluate<boolean>(
        "[document.activeElement, document.activeElement.nextElementSibling, document.activeElement.parentElement].some((node) => node && getComputedStyle(node).outlineStyle !== 'none')",
      );
      expect(isOutlined, seen.join()).toBe(true);
    }
    expect(seen).toEqual(expect.arrayContaining(["SUMMARY", "A", "radio", "checkbox"]));
    // Its tables are tables, whatever the style sheet makes of them.
    for (const viewport of [
      { width: 1_280, height: 720 },
      { width: 360, height: 720 },
    ]) {
      await page.setViewportSize(viewport);
      const table = page.getByRole("table", { name: "Resources" });
      expect(await table.getByRole("row").count()).toBeGreaterThan(HOSTILE.length);
      expect(await table.getByRole("rowheader").count()).toBeGreaterThan(HOSTILE.length);
    }
  });
});
