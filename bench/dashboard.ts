import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type LedgerStore, ResourceLedger, type ResourceWrite } from "evenkeel";
import { dashboard } from "evenkeel/dashboard";
import { sqliteStore } from "evenkeel/sqlite";
import type { CDPSession, Page } from "playwright-core";
import { headlessChromium } from "./headless-chromium.ts";

const GROUP = "fleet";
const BATCH = 1_000;
const INTERVAL_MS = 500;
/** How many updates one line is of. */
const UPDATES = 20;
/** Rows in the page's window. */
const WINDOW = 50;
const CALL = { signal: new AbortController().signal, timeoutMs: 60_000 };

const idOf = (index: number): string => `node-${String(index).padStart(6, "0")}`;

/** What is done to the ledger between two updates. */
const CHANGES: readonly {
  readonly what: string;
  readonly change: (store: LedgerStore, round: number, count: number) => Promise<void>;
}[] = [
  { what: "nothing", change: async () => {} },
  { what: "1 row in sight", change: (store, round) => touch(store, [round % WINDOW], round) },
  { what: "all 50 in sight", change: (store, round) => touch(store, all(WINDOW), round) },
  { what: "1,000 rows", change: (store, round) => touch(store, all(BATCH), round) },
  { what: "1,000 heartbeats", change: (store) => beat(store, BATCH) },
];

function all(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

async function fill(store: LedgerStore, count: number): Promise<void> {
  for (let start = 0; start < count; start += BATCH) {
    const writes = all(Math.min(BATCH, count - start)).map((at): ResourceWrite => {
      const id = idOf(start + at);
      return { kind: "create", after: 0, id, nonce: `fill-${id}`, state: "PROVISIONED", generation: 1, attempt: 1 };
    });
    await store.resources.apply({ group: GROUP, epoch: 0, writes }, CALL);
  }
}

/** Gives rows another outside id and another reason. */
async function touch(store: LedgerStore, indexes: readonly number[], round: number): Promise<void> {
  const rows = await store.resources.list({ group: GROUP, limit: Math.max(...indexes) + 1 }, CALL);
  const writes = indexes.flatMap((index): ResourceWrite[] => {
    const row = rows[index];
    if (row === undefined) return [];
    const { id, incarnation, version } = row;
    const fields = {
      state: "PROVISIONED",
      generation: 1,
      attempt: 1,
      externalId: `i-${round}`,
      reason: `Round${round}`,
    } as const;
    return [
      { kind: "update", id, incarnation, expectedVersion: version, nonce: `${round}-${id}-${version}`, ...fields },
    ];
  });
  await store.resources.apply({ group: GROUP, epoch: 0, writes }, CALL);
}

async function beat(store: LedgerStore, count: number): Promise<void> {
  const ledger = new ResourceLedger({ store, group: GROUP });
  await Promise.all(all(count).map((index) => ledger.heartbeat(idOf(index), { incarnation: 1 })));
}

/** Counts the updates that the page has had. */
const COUNT_UPDATES = `{
  globalThis.updates = 0;
  const listen = EventSource.prototype.addEventListener;
  EventSource.prototype.addEventListener = function (name, listener) {
    listen.call(this, name, (event) => {
      listener(event);
      if (name === "update") globalThis.updates += 1;
    });
  };
}`;

/** Milliseconds of script and of all tasks of the page's thread so far, and how many nodes its document has. */
async function metricsOf(session: CDPSession) {
  const { metrics } = await session.send("Performance.getMetrics");
  const value = (name: string): number => metrics.find((metric) => metric.name === name)?.value ?? 0;
  return { scriptMs: value("ScriptDuration") * 1_000, taskMs: value("TaskDuration") * 1_000, nodes: value("Nodes") };
}

async function nextUpdate(page: Page): Promise<void> {
  const seen = await page.evaluate<number>("globalThis.updates");
  // By looks of ours: the page's policy lets no text be run in it.
  while ((await page.evaluate<number>("globalThis.updates")) === seen) await sleep(20);
}

function figures(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  return `${sorted[Math.floor(sorted.length / 2)]?.toFixed(1)} | ${sorted.at(-1)?.toFixed(1)}`;
}

async function measure(count: number, folder: string): Promise<void> {
  const store = sqliteStore(join(folder, `${count}.db`));
  await fill(store, count);
  const board = dashboard({ store, intervalMs: INTERVAL_MS });
  const server = createServer(board.node);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const browser = await headlessChromium();
  try {
    const page = await browser.newPage({ viewport: { width: 1_280, height: 900 } });
    await page.addInitScript({ content: COUNT_UPDATES });
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    await page
      .locator('[data-panel="resources"] tbody tr')
      .nth(WINDOW - 1)
      .waitFor();
    const session = await page.context().newCDPSession(page);
    await session.send("Performance.enable");
    let round = 0;
    for (const { what, change } of CHANGES) {
      const script: number[] = [];
      const task: number[] = [];
      let nodes = 0;
      for (let turn = 0; turn < UPDATES; turn += 1) {
        round += 1;
        await nextUpdate(page);
        const before = await metricsOf(session);
        await change(store, round, count);
        await nextUpdate(page);
        const after = await metricsOf(session);
        script.push(after.scriptMs - before.scriptMs);
        task.push(after.taskMs - before.taskMs);
        nodes = after.nodes;
      }
      console.log(`| ${count.toLocaleString("en-US")} | ${what} | ${figures(script)} | ${figures(task)} | ${nodes} |`);
    }
  } finally {
    await browser.close();
    board.close();
    server.close();
    server.closeAllConnections();
    await store.close();
  }
}

const folder = mkdtempSync(join(tmpdir(), "evenkeel-bench-"));
try {
  console.log(`Node ${process.versions.node}, ${cpus().length} x ${cpus()[0]?.model.trim()}\n`);
  console.log("| resources | changed before the update | script ms | at most | tasks ms | at most | nodes |");
  console.log("|--:|---|--:|--:|--:|--:|--:|");
  for (const count of [100, 10_000]) await measure(count, folder);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
