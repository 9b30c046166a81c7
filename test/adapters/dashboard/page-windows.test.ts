import type { Page } from "playwright-core";
import { expect, it } from "vitest";
import { withIdempotency } from "../../../src/index.ts";
import { useChromium } from "../../support/chromium.ts";
import { describeChromium } from "../../support/engines.ts";
import { until } from "../../support/until.ts";
import { become, putRows } from "./ledger-rows.ts";
import { panelOf, rowsOf, usePageLedger } from "./page-set-up.ts";

const GROUP = "fleet";
const COUNT = 10_000;
const ids = Array.from({ length: COUNT }, (_, index) => `node-${String(index).padStart(5, "0")}`);

/** Notes what changes in the table of resources, but for ages, which tick. */
const WATCH_ROWS = `{
  globalThis.changed = [];
  const isAge = (node) => (node.nodeType === Node.TEXT_NODE ? node.parentElement : node)?.closest("time") !== null;
  new MutationObserver((records) => {
    for (const { type, target, addedNodes, removedNodes } of records) {
      if (isAge(target)) continue;
      const element = target.nodeType === Node.TEXT_NODE ? target.parentElement : target;
      const row = element?.closest("tr")?.firstElementChild.textContent;
      globalThis.changed.push({ type, row: row ?? "none", added: addedNodes.length, removed: removedNodes.length });
    }
  }).observe(document.querySelector('[data-panel="resources"] tbody'), {
    subtree: true, childList: true, characterData: true, attributes: true,
  });
}`;

interface Change {
  readonly type: string;
  readonly row: string;
  readonly added: number;
  readonly removed: number;
}

describeChromium("the page of the dashboard, over ten thousand resources", () => {
  const browser = useChromium();
  const { ledger, serve } = usePageLedger();

  const namesOf = async (page: Page) => (await rowsOf(panelOf(page, "resources"))).map(([name]) => name);
  const placeOf = (page: Page) => page.locator(".place").textContent();
  const namedFrom = (start: number) => ids.slice(start, start + 50).map((id) => `${id}#1`);
  const press = (page: Page, name: string) => panelOf(page, "resources").getByRole("button", { name }).click();

  it("keeps fifty rows in the document, and touches no more of them than what changed", async () => {
    await putRows(ledger(), GROUP, ids);
    const { url } = await serve();
    const { page, faults } = await browser.open(url);
    await expect.poll(() => placeOf(page)).toBe("1 – 50 of 10,000");
    expect(await namesOf(page)).toEqual(namedFrom(0));
    expect(await page.evaluate<number>("document.querySelectorAll('*').length")).toBeLessThan(2_000);

    await page.evaluate(WATCH_ROWS);
    await become(ledger(), GROUP, ids[7] as string, "TERMINATING");
    // One that is not in sight.
    await become(ledger(), GROUP, ids[7_777] as string, "TERMINATING");
    const chip = page.locator("label.chip", { hasText: "Terminating" });
    await expect.poll(() => chip.textContent()).toBe("Terminating2");
    await expect.poll(async () => (await rowsOf(panelOf(page, "resources")))[7]?.[1]).toBe("Terminating");
    // Whatever looks have come since, and some more.
    const updates = await page.evaluate<number>("performance.now()");
    await until(
      "more time has passed",
      async () => (await page.evaluate<number>("performance.now()")) > updates + 1_000,
    );
    const changes = await page.evaluate<Change[]>("globalThis.changed");
    expect(new Set(changes.map(({ row }) => row))).toEqual(new Set([`${ids[7]}#1`]));
    expect(changes.filter(({ added, removed }) => added + removed > 0)).toEqual([]);
    // Its state's mark and name, and its reason.
    expect(changes.length).toBeLessThanOrEqual(4);
    expect(faults).toEqual([]);
  });

  it("turns its pages by the server's cursor, and finds them again by the address", async () => {
    await putRows(ledger(), GROUP, ids);
    const { url } = await serve();
    const { page, faults } = await browser.open(url);
    await expect.poll(() => placeOf(page)).toBe("1 – 50 of 10,000");
    expect(new URL(page.url()).hash).toBe("#group=fleet");
    await press(page, "Next");
    await expect.poll(() => namesOf(page)).toEqual(namedFrom(50));
    await press(page, "Next");
    await expect.poll(() => placeOf(page)).toBe("101 – 150 of 10,000");
    const third = page.url();
    await page.reload();
    await expect.poll(() => placeOf(page)).toBe("101 – 150 of 10,000");
    expect(await namesOf(page)).toEqual(namedFrom(100));
    await press(page, "Previous");
    await expect.poll(() => namesOf(page)).toEqual(namedFrom(50));
    await page.goBack();
    await expect.poll(() => namesOf(page)).toEqual(namedFrom(100));
    await press(page, "First");
    await expect.poll(() => namesOf(page)).toEqual(namedFrom(0));

    // Who gets the address from somebody else knows where it is, and not how one comes there.
    const other = await browser.open(third);
    await expect.poll(() => namesOf(other.page)).toEqual(namedFrom(100));
    expect(await placeOf(other.page)).toBe("50 of 10,000");
    expect(await panelOf(other.page, "resources").getByRole("button", { name: "Previous" }).isDisabled()).toBe(true);
    expect([...faults, ...other.faults]).toEqual([]);
  });

  it("shows the states that are chosen, in the whole of the group", async () => {
    await putRows(ledger(), GROUP, ids);
    for (const at of [40, 4_000, 9_000]) await become(ledger(), GROUP, ids[at] as string, "FAILED");
    const { url } = await serve();
    const { page, faults } = await browser.open(`${url}#group=fleet&states=FAILED`);
    await expect.poll(() => placeOf(page)).toBe("1 – 3 of 3");
    expect(await namesOf(page)).toEqual([40, 4_000, 9_000].map((at) => `${ids[at]}#1`));
    const chips = page.locator("label.chip");
    await chips.filter({ hasText: "Failed" }).click();
    // The last one stays: nothing at all is no choice.
    expect(await page.getByRole("checkbox", { name: "Failed" }).isChecked()).toBe(true);
    await chips.filter({ hasText: "Terminating" }).click();
    await chips.filter({ hasText: "Failed" }).click();
    await expect
      .poll(() => panelOf(page, "resources").locator(".nothing").textContent())
      .toBe("None is in these states.");
    expect(new URL(page.url()).hash).toBe("#group=fleet&states=TERMINATING");
    expect(faults).toEqual([]);
  });

  it("keeps two dozen groups in the document however many there are, and finds the others by their names", async () => {
    const names = Array.from({ length: 60 }, (_, index) => `group-${String(index).padStart(2, "0")}`);
    for (const name of names) await putRows(ledger(), name, ["one"]);
    const { url } = await serve();
    // Also one that would not be among them.
    const { page, faults } = await browser.open(`${url}#group=group-50`);
    const cards = () => page.locator(".card .name").allTextContents();
    await expect.poll(cards).toEqual([...names.slice(0, 23), "group-50"]);
    expect(await page.locator("nav").textContent()).toContain("and 36 more groups");
    await page.getByRole("searchbox", { name: "Find a group" }).fill("group-4");
    await expect.poll(cards).toEqual(names.slice(40, 50));
    await page.locator(".card", { hasText: "group-41" }).click();
    await expect.poll(() => page.locator(".card[aria-current] .name").allTextContents()).toEqual(["group-41"]);
    expect(faults).toEqual([]);
  });

  it("says whether the executions that it shows are all", async () => {
    const pay = withIdempotency(async () => "paid", { store: ledger(), operation: "pay" });
    for (let n = 0; n < 50; n += 1) await pay("x", { key: `k-${n}` });
    const { url } = await serve();
    const { page, faults } = await browser.open(url);
    const heading = page.locator('[data-part="recent"] h3');
    await expect.poll(() => heading.textContent()).toBe("Recent 50");
    await pay("x", { key: "k-50" });
    await expect.poll(() => heading.textContent()).toBe("Recent the first 50");
    expect(faults).toEqual([]);
  });
});
