import type { Page } from "playwright-core";
import { expect, it } from "vitest";
import { withIdempotency } from "../../../src/index.ts";
import { faultyStore, Partition } from "../../../src/testing/index.ts";
import { useChromium } from "../../support/chromium.ts";
import { describeChromium } from "../../support/engines.ts";
import { putRows } from "./ledger-rows.ts";
import { panelOf, rowsOf, usePageLedger } from "./page-set-up.ts";

const GROUP = "worker";
const TEN = Array.from({ length: 10 }, (_, index) => `worker-${index}`);

describeChromium("actions on the dashboard's page", () => {
  const browser = useChromium();
  const { ledger, reconciler, serve, atEnd } = usePageLedger();

  const within = (page: Page, panel: string, name: string) => panelOf(page, panel).getByRole("button", { name });
  const dialog = (page: Page) => page.getByRole("dialog");
  const stateOf = (page: Page) => panelOf(page, "conditions").locator("dl").textContent();

  function workers() {
    const made: string[] = [];
    const ended: string[] = [];
    const loop = reconciler({
      name: GROUP,
      create: async ({ id }) => {
        made.push(id);
      },
      terminate: async ({ id }) => {
        ended.push(id);
      },
    });
    return { loop, made, ended };
  }

  it("are not there unless they are switched on", async () => {
    const { loop } = workers();
    await loop.setDesired(2);
    await loop.reconcile();
    const { url } = await serve({ reconcilers: [loop] });
    const { page, faults } = await browser.open(url);
    await expect.poll(async () => (await rowsOf(panelOf(page, "resources"))).length).toBe(2);
    // Of the window alone.
    expect(await page.locator("main button:visible").allTextContents()).toEqual(["First", "Previous", "Next"]);
    expect(faults).toEqual([]);
  });

  it("pause and resume a group, after a question that can be left with Escape", async () => {
    const { loop } = workers();
    await loop.setDesired(2);
    await loop.reconcile();
    const { url } = await serve({ reconcilers: [loop], actions: true });
    const { page, faults } = await browser.open(url);
    await within(page, "conditions", "Pause").click();
    expect(await page.evaluate("document.activeElement.textContent")).toBe("Cancel");
    await page.keyboard.press("Escape");
    await expect.poll(() => dialog(page).count()).toBe(0);
    expect((await loop.status()).paused).toBe(false);

    await within(page, "conditions", "Pause").click();
    await dialog(page).getByRole("button", { name: "Pause" }).click();
    await expect.poll(() => stateOf(page)).toContain("Here, paused");
    // The stream may tell it before the answer that closes the dialog.
    await expect.poll(() => dialog(page).count()).toBe(0);
    expect((await loop.status()).paused).toBe(true);
    await within(page, "conditions", "Resume").click();
    await dialog(page).getByRole("button", { name: "Resume" }).click();
    await expect.poll(() => stateOf(page)).not.toContain("paused");
    expect((await loop.status()).paused).toBe(false);
    expect(faults).toEqual([]);
  });

  it("approve just the plan that was shown, and say so when it is no longer the plan", async () => {
    await putRows(ledger(), GROUP, TEN);
    const ended: string[] = [];
    const loop = reconciler({
      name: GROUP,
      desired: () => wanted,
      create: async () => {},
      terminate: async ({ id }) => {
        ended.push(id);
      },
      massGuard: {},
    });
    let wanted: number = 0;
    const report = await loop.reconcile();
    expect(report.held.map(({ heldBy }) => heldBy)).toContain("unconfirmedEmpty");
    const { url } = await serve({ reconcilers: [loop], actions: true });
    const { page } = await browser.open(url);
    await expect.poll(async () => (await rowsOf(panelOf(page, "held"))).length).toBe(10);
    expect((await rowsOf(panelOf(page, "held")))[0]?.[1]).toBe(
      "Unconfirmed empty an empty answer is not confirmed yet",
    );

    await within(page, "conditions", "Plan").click();
    await expect.poll(() => dialog(page).locator(".plan li").count()).toBe(10);
    expect(await dialog(page).textContent()).toContain("Would be done: 10");
    wanted = 8;
    await dialog(page).getByRole("button", { name: "Approve" }).click();
    await expect.poll(() => dialog(page).getByRole("alert").textContent()).not.toBe("");
    expect(ended).toEqual([]);
    await dialog(page).getByRole("button", { name: "Cancel" }).click();

    wanted = 0;
    await within(page, "conditions", "Plan").click();
    await expect.poll(() => dialog(page).locator(".plan li").count()).toBe(10);
    await dialog(page).getByRole("button", { name: "Approve" }).click();
    await expect.poll(() => ended.length).toBe(10);
    await expect.poll(() => dialog(page).count()).toBe(0);
  });

  it("say in sight why there is no plan, where the ledger does not answer", async () => {
    const partition = new Partition();
    const loop = reconciler({
      ...{ name: GROUP, store: faultyStore(ledger(), { partition }), storeTimeoutMs: 300 },
      ...{ create: async () => {}, terminate: async () => {} },
    });
    await loop.setDesired(2);
    const { url } = await serve({ reconcilers: [loop], actions: true });
    const { page } = await browser.open(url);
    const plan = within(page, "conditions", "Plan");
    await plan.waitFor();
    partition.cut("both");
    await plan.click();
    await expect
      .poll(() => dialog(page).getByRole("alert").textContent())
      .toBe("The ledger did not answer. Nothing was changed: ask again.");
    await dialog(page).getByRole("button", { name: "Close" }).click();
    await expect.poll(() => dialog(page).count()).toBe(0);
  });

  it("release a running execution by force, so that the next caller runs it", async () => {
    let letGo = (): void => {};
    const gone = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    atEnd(() => letGo());
    let runs = 0;
    const charge = withIdempotency(
      async () => {
        runs += 1;
        if (runs === 1) await gone;
        return runs;
      },
      { store: ledger(), operation: "charge" },
    );
    const first = charge("order", { key: "secret-key" });
    first.catch(() => {});
    const { url } = await serve({ actions: true });
    const { page } = await browser.open(url);
    const running = panelOf(page, "executions").locator('[data-part="running"]');
    await expect.poll(async () => (await rowsOf(running)).length).toBe(1);
    expect((await rowsOf(running))[0]?.slice(1, 6)).toEqual(["charge", "–", "in flight", "1", "1"]);
    await running.getByRole("button", { name: "Release" }).click();
    expect(await dialog(page).textContent()).toContain("the next caller may do it a second time");
    await dialog(page).getByRole("button", { name: "Release" }).click();
    await expect.poll(async () => (await rowsOf(running)).length).toBe(0);
    expect(await charge("order", { key: "secret-key" })).toBe(2);
    letGo();
    await expect
      .poll(async () => (await rowsOf(panelOf(page, "executions").locator('[data-part="recent"]')))[0]?.[3])
      .toBe("value");
    await Promise.allSettled([first]);
    expect(await page.content()).not.toContain("secret-key");
  });
});
