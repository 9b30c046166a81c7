import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { postgresStore } from "../../../adapters/stores/postgres.ts";
import { withIdempotency } from "../../../src/index.ts";
import { describePostgresServers } from "../../support/engines.ts";
import { holdClaim } from "../../support/held-claim.ts";
import { inTime } from "../../support/in-time.ts";
import { newPrefix } from "../../support/postgres-ledgers.ts";
import { type PostgresServer, startPostgres } from "../../support/postgres-server.ts";

/** Of a call that is to succeed, however busy the machine is; the first one makes the ledger. */
const PATIENT_MS = 20_000;
/** Of a call that nobody serves, and within what it is refused. */
const UNSERVED_MS = 1_000;
const UNSERVED_AT_MOST_MS = 5_000;

describePostgresServers("postgresStore on a server that fails", () => {
  let server: PostgresServer;
  const rejections: unknown[] = [];
  const onRejection = (reason: unknown): void => void rejections.push(reason);

  beforeAll(async () => {
    process.on("unhandledRejection", onRejection);
    server = await startPostgres();
  });
  afterAll(async () => {
    await server.stop();
    process.off("unhandledRejection", onRejection);
    expect(rejections).toEqual([]);
  });

  /** A store over a URL or a pool, and a function that counts its runs. */
  function service(source: string | pg.Pool) {
    const store = postgresStore(source, { tablePrefix: newPrefix() });
    const bounded = (storeTimeoutMs: number) => {
      const options = { store, operation: "o", storeTimeoutMs, inFlight: "wait" } as const;
      const once = withIdempotency(() => ++service.runs, options);
      return (key: string): Promise<number> => once("input", { key });
    };
    const service = { runs: 0, store, call: bounded(PATIENT_MS), callInVain: bounded(UNSERVED_MS) };
    return service;
  }

  async function isRefusedInTime(answer: Promise<unknown>): Promise<void> {
    await expect(inTime(UNSERVED_AT_MOST_MS, answer)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  }

  it("is STORE_UNAVAILABLE in time while it stands still for 5 s; then all goes on, a held claim too (I1, I19)", async () => {
    const pool = new pg.Pool({ connectionString: server.url, max: 3 });
    const both = [service(server.url), service(pool)];
    const holders = await Promise.all(both.map(({ store }) => holdClaim(store, "held")));
    for (const it of both) expect(await it.call("warm-up")).toBe(1);
    server.pause();
    const standsStill = sleep(5_000);
    await Promise.all(
      both.flatMap((it) => [
        isRefusedInTime(Promise.all(Array.from({ length: 30 }, (_, n) => it.callInVain(`key ${n}`)))),
        isRefusedInTime(it.callInVain("warm-up")),
      ]),
    );
    await standsStill;
    await Promise.all(both.map((it) => isRefusedInTime(it.callInVain("late"))));
    for (const it of both) expect(it.runs).toBe(1);
    server.resume();
    await Promise.all(holders.map((held) => held.isRenewedAndCompletesOnce()));
    for (const it of both) {
      expect(await it.call("after")).toBe(2);
      expect(await it.call("warm-up")).toBe(1);
    }
    server.pause();
    await inTime(UNSERVED_AT_MOST_MS, Promise.all(both.map(({ store }) => store.close())));
    server.resume();
    await pool.end();
  });

  it("is STORE_UNAVAILABLE while it is gone, and keeps what it had acknowledged when it is back", async () => {
    const it = service(server.url);
    expect(await it.call("kept")).toBe(1);
    const end = it.store.executions.watch?.("0".repeat(64), () => {});
    await server.kill();
    await isRefusedInTime(it.callInVain("refused"));
    expect(it.runs).toBe(1);
    await server.restart();
    expect(await it.call("kept")).toBe(1);
    expect(await it.call("new")).toBe(2);
    end?.();
    await it.store.close();
  });

  it("runs each key once while its connections are terminated at random", async () => {
    const it = service(new URL(server.url).href);
    const admin = new pg.Client(server.url);
    await admin.connect();
    await it.call("warm-up");
    let isOver = false;
    const chaos = (async () => {
      while (!isOver) {
        await admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE pid <> pg_backend_pid() AND datname = current_database() AND random() < 0.5`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    const keys = Array.from({ length: 400 }, (_, n) => `key ${n}`);
    const settled: PromiseSettledResult<number>[] = [];
    for (let from = 0; from < keys.length; from += 40) {
      settled.push(...(await Promise.allSettled(keys.slice(from, from + 40).map((key) => it.call(key)))));
    }
    isOver = true;
    await chaos;
    const values = settled.map((one) => (one.status === "fulfilled" ? one.value : one.reason.code));
    expect(values.filter((value) => typeof value !== "number")).toEqual([]);
    expect(new Set(values).size).toBe(keys.length);
    expect(it.runs).toBe(keys.length + 1);
    await it.store.close();
    await admin.end();
  });
});
