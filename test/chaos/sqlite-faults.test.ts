import { Worker as Thread } from "node:worker_threads";
import { afterAll, describe, expect, it } from "vitest";
import { sqliteStore } from "../../adapters/stores/sqlite.ts";
import { withIdempotency } from "../../src/index.ts";
import { drivers, temporaryFolder, useTemporaryFolder } from "../support/sqlite-files.ts";
import { until } from "../support/until.ts";
import { describeDeliveryFaults } from "./delivery-faults.ts";
import { describeFullEngine } from "./full-engine.ts";

const { folder, database } = useTemporaryFolder();

describe("messages to a SQLite file", () => {
  const own = temporaryFolder();
  afterAll(own.remove);
  describeDeliveryFaults(async () => `sqlite:${own.file("ledger.db")}`);
});

describe("a SQLite file that may not grow", () => {
  describeFullEngine(
    async () => {
      const handle = database();
      const store = sqliteStore(handle);
      return {
        store,
        fill: () => {
          const { page_count: pages } = handle.prepare("PRAGMA page_count").get() as { page_count: number };
          handle.exec(`PRAGMA max_page_count = ${pages}`);
        },
        makeRoom: () => {
          handle.exec("PRAGMA max_page_count = 1073741823");
        },
        close: () => store.close(),
      };
    },
    { outcomes: "refused" },
  );
});

/** Holds the write lock of a file from another thread, with a connection of its own, until told to let go. */
const LOCKER = `
  const { workerData, parentPort } = require("node:worker_threads");
  const open = () => {
    try { return new (require("better-sqlite3"))(workerData); }
    catch { return new (require("node:sqlite").DatabaseSync)(workerData); }
  };
  const handle = open();
  handle.exec("BEGIN IMMEDIATE");
  parentPort.postMessage("locked");
  parentPort.once("message", () => { handle.exec("COMMIT"); handle.close(); });
`;

describe.each(drivers)("a SQLite file that another connection keeps locked, on $name", ({ open }) => {
  it("is STORE_UNAVAILABLE within storeTimeoutMs, runs nothing, blocks nobody, and works again (I14, I19)", async () => {
    const file = folder.file("ledger.db");
    const handle = open(file);
    const store = sqliteStore(handle);
    await store.migrate();
    const locker = new Thread(LOCKER, { eval: true, workerData: file });
    await new Promise((resolve) => locker.once("message", resolve));
    let runs = 0;
    const pay = withIdempotency(async () => ++runs, { store, operation: "pay", storeTimeoutMs: 1_000 });
    let ticks = 0;
    const ticking = setInterval(() => {
      ticks += 1;
    }, 10);
    const startedAt = performance.now();
    await expect(pay({}, { key: "k" })).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    const tookMs = performance.now() - startedAt;
    clearInterval(ticking);
    expect(runs).toBe(0);
    expect(tookMs).toBeGreaterThan(900);
    // A blocking wait would have let the event loop turn a few times at most, and a busy machine lets it turn seldom.
    expect(ticks).toBeGreaterThan(10);
    locker.postMessage("let go");
    await new Promise((resolve) => locker.once("exit", resolve));
    // What is claimed late for the caller that has gone is given back.
    await until("the key is free", async () => (await pay.run({}, { key: "k" })).attempt === 1);
    expect(runs).toBe(1);
    await store.close();
    handle.close();
  });
});
