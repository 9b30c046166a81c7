import type { Page } from "playwright-core";
import { expect, it } from "vitest";
import { faultyStore, ManualClock, Partition } from "../../../src/testing/index.ts";
import { useChromium } from "../../support/chromium.ts";
import { describeChromium } from "../../support/engines.ts";
import { putRows } from "./ledger-rows.ts";
import { cardOf, panelOf, rowsOf, usePageLedger } from "./page-set-up.ts";

const GROUP = "worker";
const IDS = ["a", "b", "c"];
const NAMES = IDS.map((id) => `${id}#1`);

/** Counts the streams that a page opens, and the beats that it hears. */
const COUNT_BEATS = `(() => {
  globalThis.streams = 0;
  globalThis.beats = 0;
  globalThis.EventSource = class extends EventSource {
    constructor(address) {
      super(address);
      globalThis.streams += 1;
      this.addEventListener("beat", () => (globalThis.beats += 1));
    }
  };
})()`;

describeChromium("the dashboard's page in trouble", () => {
  const browser = useChromium();
  const { ledger, serve } = usePageLedger();

  const namesOf = async (page: Page) => (await rowsOf(panelOf(page, "resources"))).map(([name]) => name);
  const connection = (page: Page) => page.locator(".connection").textContent();
  const banner = (page: Page) => page.locator(".banner");

  it("shows what stood when the connection is lost, says how old it is, and goes on when it is back", async () => {
    await putRows(ledger(), GROUP, IDS);
    const served = await serve();
    const { page } = await browser.open(served.url);
    await expect.poll(() => namesOf(page)).toEqual(NAMES);
    await expect.poll(() => connection(page)).toBe("Live");
    expect(await banner(page).isVisible()).toBe(false);

    await served.cut();
    await expect.poll(() => connection(page)).toMatch(/^Lost, \d+ s old$/);
    const ageOf = async () => Number(/(\d+) s old/.exec((await banner(page).textContent()) ?? "")?.[1]);
    await expect.poll(ageOf).toBeGreaterThan(0);
    expect(await banner(page).isVisible()).toBe(true);
    expect(await page.getByRole("status").allTextContents()).toContain("The connection is lost: what is shown is old.");
    expect(await namesOf(page)).toEqual(NAMES);
    expect(await cardOf(page, GROUP)).toMatch(/^worker 3 observed/);
    // Nobody knows how old these are by now.
    const ages = () => panelOf(page, "resources").locator("tbody time").allTextContents();
    const before = await ages();
    const age = await ageOf();
    await expect.poll(ageOf).toBeGreaterThan(age);
    expect(await ages()).toEqual(before);

    await putRows(ledger(), GROUP, ["d"]);
    await served.mend();
    await expect.poll(() => namesOf(page)).toEqual([...NAMES, "d#1"]);
    await expect.poll(() => connection(page)).toBe("Live");
    expect(await banner(page).isVisible()).toBe(false);
  });

  it("comes back also when the server refused it meanwhile", async () => {
    await putRows(ledger(), GROUP, IDS);
    const { url } = await serve({ maxStreams: 1 });
    const first = await browser.open(url);
    await expect.poll(() => namesOf(first.page)).toEqual(NAMES);
    const second = await browser.open(url);
    await expect.poll(() => connection(second.page)).toBe("No answer");
    expect(await banner(second.page).textContent()).toBe("The server does not answer. Nothing is known yet.");
    await first.page.close();
    await expect.poll(() => namesOf(second.page)).toEqual(NAMES);
    expect(await connection(second.page)).toBe("Live");
  });

  it("shows what stood where the ledger does not answer, and that it is old, and takes nothing for gone", async () => {
    await putRows(ledger(), GROUP, IDS);
    const partition = new Partition();
    const { url } = await serve({ store: faultyStore(ledger(), { partition }), storeTimeoutMs: 300 });
    const { page, faults } = await browser.open(url);
    await expect.poll(() => namesOf(page)).toEqual(NAMES);
    await expect.poll(() => panelOf(page, "executions").textContent()).toContain("None is in flight.");

    partition.cut("both");
    const problem = panelOf(page, "resources").locator(".problem");
    await expect
      .poll(() => problem.textContent())
      .toMatch(/^Not read for \d+ s \(STORE_UNAVAILABLE\)\. This is what stood before\.$/);
    await expect.poll(() => panelOf(page, "history").locator(".problem").isVisible()).toBe(true);
    expect(await namesOf(page)).toEqual(NAMES);
    expect(await cardOf(page, GROUP)).toMatch(/^worker 3 observed/);
    // The chart has a gap, and not a zero.
    await expect.poll(() => page.locator(".legend").textContent()).toMatch(/Observed unknown/);
    expect(await connection(page)).toMatch(/^Live/);

    partition.heal();
    await expect.poll(() => problem.isVisible()).toBe(false);
    await expect.poll(() => page.locator(".legend").textContent()).toMatch(/Observed 3/);
    expect(faults).toEqual([]);
  });

  it("says that it does not know, and not that there is nothing, where the ledger has never answered", async () => {
    const partition = new Partition();
    partition.cut("both");
    const { url } = await serve({ store: faultyStore(ledger(), { partition }), storeTimeoutMs: 300 });
    const { page } = await browser.open(`${url}#group=${GROUP}`);
    await expect.poll(() => page.locator("nav").textContent()).toContain("Which groups there are is not known.");
    expect(await panelOf(page, "executions").textContent()).toContain("Not known: they could not be read yet.");
    for (const name of ["conditions", "held"])
      expect(await panelOf(page, name).textContent()).toContain("Not known: it could not be read yet.");
    for (const name of ["history", "conditions", "held", "resources", "leases", "executions"])
      expect(await panelOf(page, name).locator(".problem").textContent()).toMatch(/ Nothing is known yet\.$/);
    expect(await page.locator("main").textContent()).not.toMatch(/None|No election|There is no|not here|before/);
    partition.heal();
    await expect.poll(() => page.locator("nav").textContent()).toContain("There is no group in the ledger yet.");
  });

  it("names the groups of which no more is known than that they are there", async () => {
    await putRows(ledger(), GROUP, IDS);
    const faults = [{ on: "resources.getDesired", fault: "lostRequest" }] as const;
    const { url } = await serve({ store: faultyStore(ledger(), { faults }), storeTimeoutMs: 300 });
    const { page } = await browser.open(url);
    await expect.poll(() => cardOf(page, GROUP)).toBe("worker – observed Not known");
    await expect.poll(() => namesOf(page)).toEqual(NAMES);
    const problem = panelOf(page, "conditions").locator(".problem");
    await expect.poll(() => problem.textContent()).toMatch(/\(STORE_UNAVAILABLE\)\. Nothing is known yet\.$/);
    expect(await page.locator("main").textContent()).not.toMatch(/There is no/);
  });

  it("shows what stood also where the server was begun anew while the ledger was away", async () => {
    await putRows(ledger(), GROUP, IDS);
    const partition = new Partition();
    const served = await serve({ store: faultyStore(ledger(), { partition }), storeTimeoutMs: 300 });
    const { page } = await browser.open(served.url);
    await expect.poll(() => namesOf(page)).toEqual(NAMES);
    partition.cut("both");
    served.renew();
    await expect.poll(() => panelOf(page, "history").locator(".problem").isVisible()).toBe(true);
    await expect.poll(() => connection(page)).toMatch(/^Live/);
    expect(await cardOf(page, GROUP)).toMatch(/^worker 3 observed/);
    const chart = page.locator(".chart");
    expect(await chart.getAttribute("aria-label")).toMatch(/observed unknown now, between 3 and 3\.$/);
    partition.heal();
    await expect.poll(() => chart.getAttribute("aria-label")).toMatch(/observed 3 now, between 3 and 3\.$/);
  });

  it("does not take a ledger that is silent for a connection that is lost", async () => {
    await putRows(ledger(), GROUP, IDS);
    const clock = new ManualClock();
    const partition = new Partition();
    const store = faultyStore(ledger(), { partition });
    const { url } = await serve({ store, clock, intervalMs: 2_000, storeTimeoutMs: 600_000 });
    const { page } = await browser.open("about:blank");
    await page.addInitScript({ content: COUNT_BEATS });
    await page.clock.install();
    await page.goto(url);
    await expect.poll(() => namesOf(page)).toEqual(NAMES);
    partition.cut("both");
    // From now on the page's time goes on only as it is told here.
    await page.clock.pauseAt((await page.evaluate<number>("Date.now()")) + 5_000);
    const seen = () => page.evaluate<[number, number]>("[streams, beats]");
    const [opened] = await seen();
    for (let beats = 1; beats <= 5; beats += 1) {
      await clock.advance(5_000);
      await expect.poll(async () => (await seen())[1]).toBeGreaterThanOrEqual(beats);
      await page.clock.fastForward(4_000);
    }
    expect(await connection(page)).toMatch(/^Live, \d+ s old$/);
    expect(await banner(page).isVisible()).toBe(false);
    expect((await seen())[0]).toBe(opened);
    // Without a beat it is.
    await page.clock.fastForward(20_000);
    await expect.poll(async () => (await seen())[0]).toBeGreaterThan(opened);
  });
});
