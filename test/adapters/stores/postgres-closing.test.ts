import { PGlite } from "@electric-sql/pglite";
import pg from "pg";
import { describe, expect, it } from "vitest";
import { postgresStore } from "../../../adapters/stores/postgres.ts";
import { describePostgres } from "../../support/engines.ts";
import { newPrefix, useDatabase } from "../../support/postgres-ledgers.ts";

/** However busy the machine is. */
const POLL = { timeout: 30_000 };

describePostgres("several stores on one pool", () => {
  const { url } = useDatabase();

  it("keep an idle connection that breaks from ending the process until the last is closed", async () => {
    const pool = new pg.Pool({ connectionString: await url() });
    const stores = [newPrefix(), newPrefix()].map((tablePrefix) => postgresStore(pool, { tablePrefix }));
    for (const store of stores) await store.migrate();
    await stores[0]?.close();
    // Without a listener it would throw.
    expect(pool.emit("error", new Error("terminated"), undefined as never)).toBe(true);
    await Promise.all([stores[1]?.close(), stores[1]?.close()]);
    expect(pool.listenerCount("error")).toBe(0);
    await pool.end();
  });
});

describePostgres("close() of a store on a busy pool", () => {
  const { url } = useDatabase();
  const busyPool = async () => {
    const pool = new pg.Pool({ connectionString: await url(), max: 1 });
    const hold = () => pool.connect();
    return { pool, hold };
  };

  it("does not wait for calls that gave up, and refuses those that wait", async () => {
    const { pool, hold } = await busyPool();
    const store = postgresStore(pool, { tablePrefix: newPrefix() });
    await store.resources.getDesired("g", { timeoutMs: 20_000 });
    const held = await hold();
    const unavailable = { code: "STORE_UNAVAILABLE" };
    await expect(store.resources.getDesired("g", { timeoutMs: 20 })).rejects.toMatchObject(unavailable);
    const waiting = expect(store.resources.getDesired("g", { timeoutMs: 60_000 })).rejects.toMatchObject(unavailable);
    await store.close();
    await waiting;
    held.release();
    await expect.poll(() => [pool.waitingCount, pool.idleCount], POLL).toEqual([0, 1]);
    await pool.end();
  });

  it("does not wait for a set-up without a connection", async () => {
    const { pool, hold } = await busyPool();
    const held = await hold();
    const store = postgresStore(pool, { tablePrefix: newPrefix() });
    const refused = expect(store.executions.get("0".repeat(64), { timeoutMs: 50 })).rejects.toThrow();
    await refused;
    await store.close();
    held.release();
    await pool.end();
  });
});

describe("close() of a store on a PGlite whose user has a transaction open", () => {
  it("does not wait for it", async () => {
    const db = await PGlite.create();
    const store = postgresStore(db);
    await store.migrate();
    await db.transaction(async () => {
      await expect(store.resources.getDesired("g", { timeoutMs: 20 })).rejects.toMatchObject({
        code: "STORE_UNAVAILABLE",
      });
      await store.close();
    });
    expect((await db.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
    await db.close();
  });
});

describePostgres("a LISTEN", () => {
  const { url, pool } = useDatabase();
  const failing = [
    ["fails", () => Promise.reject(new Error("not here"))],
    ["is never answered", () => new Promise<never>(() => {})],
  ] as const;

  it.each(failing)("that %s leaves no connection behind", async (how, answer) => {
    let attempts = 0;
    class Deaf extends pg.Client {
      // biome-ignore lint/suspicious/noExplicitAny: pg's has a dozen signatures.
      override query(...args: any[]): any {
        if (!String(args[0]).startsWith("LISTEN")) return super.query(...(args as [string]));
        attempts += 1;
        return answer();
      }
    }
    const name = `deaf_${how.length}`;
    const own = new pg.Pool({ connectionString: `${await url()}?application_name=${name}`, Client: Deaf } as never);
    const store = postgresStore(own, { tablePrefix: newPrefix(), listen: true });
    await store.migrate();
    const end = store.executions.watch?.("0".repeat(64), () => {});
    await expect.poll(() => attempts, POLL).toBeGreaterThan(how === "fails" ? 1 : 0);
    end?.();
    await store.close();
    await own.end();
    const left = async (): Promise<number> => {
      const text = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = $1";
      return (await (await pool()).query(text, [name])).rows[0].n;
    };
    await expect.poll(left, POLL).toBe(0);
  });
});
