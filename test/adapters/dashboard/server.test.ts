import { afterEach, describe, expect, it } from "vitest";
import { dashboard } from "../../../adapters/dashboard/dashboard.ts";
import type { DashboardOptions } from "../../../adapters/dashboard/dashboard-options.ts";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import { ResourceLedger } from "../../../src/index.ts";
import { Served } from "./server-set-up.ts";

const ends: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function served(options: Partial<DashboardOptions> = {}) {
  const store = options.store ?? memoryStore();
  const board = dashboard({ intervalMs: 50, ...options, store });
  const server = await Served.by(board.node);
  ends.push(
    () => store.close(),
    () => server.close(),
    () => board.close(),
  );
  return { store, board, server };
}

describe("the page", () => {
  it("comes with its script and its style, and headers that keep everything else out", async () => {
    const { server } = await served({ title: "<b>mine</b>" });
    const page = await server.ask("/");
    expect(page.status).toBe(200);
    expect(page.text).toContain("<title>&lt;b&gt;mine&lt;/b&gt;</title>");
    expect(page.text).not.toMatch(/<script(?! type="module" src="page.js">)|<style|style=| on\w+=/);
    for (const [path, type] of [
      ["/page.js", "text/javascript; charset=utf-8"],
      ["/page.css", "text/css; charset=utf-8"],
      ["/icon.svg", "image/svg+xml"],
    ] as const) {
      const { status, headers } = await server.ask(path);
      expect(status).toBe(200);
      expect(headers["content-type"]).toBe(type);
    }
  });

  it("is told how the groups stand", async () => {
    const { store, server } = await served();
    await new ResourceLedger({ store, group: "web" }).setDesired(3);
    const watching = server.watch("/events?group=web");
    await expect.poll(() => watching.last?.groups?.[0]).toMatchObject({ name: "web", desired: 3, isHere: false });
    expect(watching.hello).toHaveLength(1);
    expect(watching.last?.problems).toEqual([]);
    expect(watching.last?.window).toEqual({ group: "web", total: 0, rows: [] });
  });
});
