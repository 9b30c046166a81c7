import type { Page } from "playwright-core";
import { expect, it } from "vitest";
import { useChromium } from "../../support/chromium.ts";
import { describeChromium } from "../../support/engines.ts";
import { putRows } from "./ledger-rows.ts";
import { cardOf, panelOf, rowsOf, usePageLedger } from "./page-set-up.ts";

const GROUP = "worker";
const CALL = { timeoutMs: 30_000 };
const MINUTE_MS = 60_000;

describeChromium("the dashboard's page where several copies of a reconciler run", () => {
  const browser = useChromium();
  const { ledger, reconciler, serve } = usePageLedger();

  const heldOf = async (page: Page) => (await panelOf(page, "held").locator(".nothing").allTextContents()).join("");

  /** One copy, whose election is decided by whoever tests. */
  function copy() {
    const leader = { leads: false, isLeader: () => leader.leads, epoch: 1, signal: new AbortController().signal };
    return { leader, loop: reconciler({ name: GROUP, leader, create: async () => {}, terminate: async () => {} }) };
  }

  it("says of one that follows what the leader said of the group, and that what is held is known there", async () => {
    const [first, second] = [copy(), copy()];
    first.leader.leads = true;
    await first.loop.setDesired(2);
    await first.loop.reconcile();
    const { url } = await serve({ reconcilers: [second.loop] });
    const { page } = await browser.open(url);
    await expect.poll(() => cardOf(page, GROUP)).toMatch(/^worker follows here 2 of 2 desired Converged for /);
    expect(await heldOf(page)).toBe("Known to the copy that leads, which is not this one.");
    const row = panelOf(page, "conditions").locator("tbody tr", { hasText: "Not leader" });
    expect(await row.locator(".verdict").getAttribute("data-tone")).toBe("unknown");
  });

  it("shows what is held where it leads, and not what it held when it led", async () => {
    const { leader, loop } = copy();
    leader.leads = true;
    await loop.setDesired(3);
    loop.pause();
    const { url } = await serve({ reconcilers: [loop] });
    const { page } = await browser.open(url);
    await expect.poll(() => heldOf(page)).toBe("Not known: no pass has ended here yet.");
    await loop.reconcile();
    await expect.poll(async () => (await rowsOf(panelOf(page, "held"))).length).toBe(3);
    leader.leads = false;
    await expect.poll(async () => (await rowsOf(panelOf(page, "held"))).length).toBe(0);
    expect(await heldOf(page)).toBe("Known to the copy that leads, which is not this one.");
  });

  it("says when nothing came of a plan that was approved", async () => {
    const { loop } = copy();
    await loop.setDesired(2);
    const { url } = await serve({ reconcilers: [loop], actions: true });
    const { page } = await browser.open(url);
    await panelOf(page, "conditions").getByRole("button", { name: "Plan" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("button", { name: "Approve" }).click();
    await expect
      .poll(() => dialog.getByRole("alert").textContent())
      .toContain("Nothing was done, because another copy leads.");
  });

  it("says of a trouble since when it is, and not since when the group has converged", async () => {
    await putRows(ledger(), GROUP, ["a"]);
    const conditions = [
      { type: "Converged", status: true, reason: "AsDesired", since: Date.now() - 40 * MINUTE_MS },
      { type: "MassStaleness", status: true, reason: "Held", since: Date.now() - 20 * MINUTE_MS },
    ];
    const status = JSON.stringify({ observedGeneration: 1, conditions });
    await ledger().resources.apply({ group: GROUP, epoch: 0, writes: [], status }, CALL);
    const { url } = await serve();
    const { page } = await browser.open(url);
    await expect.poll(() => cardOf(page, GROUP)).toMatch(/ Mass staleness for 2\d min$/);
  });
});
