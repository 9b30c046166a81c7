import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Page } from "playwright-core";
import { expect, it } from "vitest";
import { type Reconciler, ResourceLedger } from "../../../src/index.ts";
import { useChromium } from "../../support/chromium.ts";
import { describeChromium } from "../../support/engines.ts";
import { cardOf, panelOf, rowsOf, usePageLedger } from "./page-set-up.ts";

const GROUP = "worker";

/** How many pixels of the chart have each colour. */
const COLOURS = `(() => {
  const { width, height } = document.querySelector(".chart canvas");
  const { data } = document.querySelector(".chart canvas").getContext("2d").getImageData(0, 0, width, height);
  const seen = {};
  for (let at = 0; at < data.length; at += 4) {
    const colour = data.slice(at, at + 4).join();
    seen[colour] = (seen[colour] ?? 0) + 1;
  }
  return seen;
})()`;

describeChromium("the page of the dashboard, over real child processes", () => {
  const browser = useChromium();
  const { ledger, reconciler, serve, atEnd } = usePageLedger();

  /** A reconciler whose resources are processes, and those that live, by what the page calls them. */
  function processes(options: { readonly beforeEnd?: () => Promise<void> } = {}): {
    readonly workers: Reconciler;
    readonly living: Map<string, ChildProcess>;
  } {
    const living = new Map<string, ChildProcess>();
    const workers = reconciler({
      name: GROUP,
      observe: () =>
        [...living].map(([name, { pid }]) => {
          const [id = "", incarnation] = name.split("#");
          return { id, incarnation: Number(incarnation), externalId: String(pid) };
        }),
      async create({ id, incarnation }) {
        const name = `${id}#${incarnation}`;
        const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1e6)"], { stdio: "ignore" });
        living.set(name, child);
        child.once("exit", () => {
          living.delete(name);
          workers.wake(id);
        });
        await once(child, "spawn");
        return { externalId: String(child.pid) };
      },
      async terminate({ id, incarnation }) {
        await options.beforeEnd?.();
        living.get(`${id}#${incarnation}`)?.kill("SIGKILL");
      },
      actionTimeoutMs: 60_000,
      observeGraceMs: 1,
    });
    // Before the reconciler, which would make others.
    atEnd(async () => {
      await workers.stop({ graceMs: 0 });
      const left = [...living.values()];
      for (const child of left) child.kill("SIGKILL");
      await Promise.all(left.map((child) => child.exitCode ?? child.signalCode ?? once(child, "exit")));
    });
    return { workers, living };
  }

  const legendOf = async (page: Page) => (await page.locator(".legend").textContent())?.replace(/\s+/g, " ").trim();
  const namesOf = async (page: Page) =>
    (await rowsOf(panelOf(page, "resources"))).map(([name, state]) => `${name} ${state}`);

  it("shows a scale-down from ten to five as it happens, and draws it", async () => {
    let letEnd = (): void => {};
    const mayEnd = new Promise<void>((resolve) => {
      letEnd = resolve;
    });
    const { workers, living } = processes({ beforeEnd: () => mayEnd });
    await workers.setDesired(10);
    workers.start();
    const { url } = await serve({ reconcilers: [workers] });
    const { page, faults } = await browser.open(url);
    await expect.poll(() => cardOf(page, GROUP)).toMatch(/^worker 10 of 10 desired Converged for /);
    expect(await namesOf(page)).toEqual(Array.from({ length: 10 }, (_, n) => `worker-${n}#1 Provisioned`));

    await workers.setDesired(5);
    await expect.poll(() => cardOf(page, GROUP)).toMatch(/^worker 5 of 5 desired Not converged for /);
    await expect
      .poll(() => namesOf(page))
      .toEqual(Array.from({ length: 10 }, (_, n) => `worker-${n}#1 ${n < 5 ? "Provisioned" : "Terminating"}`));
    await expect.poll(() => legendOf(page)).toBe("Desired 5 Observed 5");
    expect(living.size).toBe(10);

    letEnd();
    await expect.poll(() => cardOf(page, GROUP)).toMatch(/^worker 5 of 5 desired Converged for /);
    await expect.poll(() => namesOf(page)).toEqual(Array.from({ length: 5 }, (_, n) => `worker-${n}#1 Provisioned`));
    expect(await page.locator(".chart").getAttribute("aria-label")).toMatch(
      /Desired 5 now, between 5 and 10; observed 5 now, between \d+ and 10\.$/,
    );
    // Both lines are on the canvas, in their colours.
    const colours = await page.evaluate<Record<string, number>>(COLOURS);
    expect(colours["14,127,141,255"]).toBeGreaterThan(20);
    expect(colours["138,75,8,255"]).toBeGreaterThan(20);
    expect(faults).toEqual([]);
  });

  it("shows the replacement of a process that is killed by the id that stands on the page", async () => {
    const { workers, living } = processes();
    await workers.setDesired(4);
    workers.start();
    const { url } = await serve({ reconcilers: [workers] });
    const { page, faults } = await browser.open(url);
    await expect.poll(() => cardOf(page, GROUP)).toMatch(/^worker 4 of 4 desired Converged/);
    const row = panelOf(page, "resources").locator("tbody tr").nth(2);
    const pid = Number(await row.locator('[data-label="External id"]').textContent());
    expect(pid).toBe(living.get("worker-2#1")?.pid);
    // Of those at rest none is under way.
    expect(await row.locator('[data-label="Attempt"]').textContent()).toBe("–");

    process.kill(pid, "SIGKILL");
    await expect
      .poll(() => namesOf(page))
      .toEqual(["worker-0#1", "worker-1#1", "worker-2#2", "worker-3#1"].map((name) => `${name} Provisioned`));
    await expect.poll(() => cardOf(page, GROUP)).toMatch(/^worker 4 of 4 desired Converged/);
    expect(living.size).toBe(4);
    expect(faults).toEqual([]);
  });

  it("tells how old each heartbeat is, and lets ages go on between updates", async () => {
    const { workers } = processes();
    await workers.setDesired(2);
    workers.start();
    const { url } = await serve({ reconcilers: [workers] });
    const { page } = await browser.open(url);
    const heartbeats = () => panelOf(page, "resources").locator('tbody [data-label="Heartbeat"]').allTextContents();
    await expect.poll(heartbeats).toEqual(["–", "–"]);
    const beats = new ResourceLedger({ store: ledger(), group: GROUP });
    expect(await beats.heartbeat("worker-0", { incarnation: 1 })).toMatchObject({ accepted: true });
    await expect.poll(async () => (await heartbeats())[0]).toMatch(/^\d+ s$/);
    const first = Number.parseInt((await heartbeats())[0] ?? "", 10);
    await expect.poll(async () => Number.parseInt((await heartbeats())[0] ?? "", 10)).toBeGreaterThan(first);
    expect((await heartbeats())[1]).toBe("–");
  });
});
