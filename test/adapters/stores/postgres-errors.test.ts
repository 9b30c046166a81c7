import { randomUUID } from "node:crypto";
import pg from "pg";
import { describe, expect, it } from "vitest";
import { postgresStore } from "../../../adapters/stores/postgres.ts";
import { leavesConnectionUsable } from "../../../adapters/stores/postgres-errors.ts";
import type { LedgerStore } from "../../../src/store.ts";
import { describePostgres, describePostgresServers } from "../../support/engines.ts";
import { inTime } from "../../support/in-time.ts";
import { newPrefix, useDatabase } from "../../support/postgres-ledgers.ts";
import { startPostgres } from "../../support/postgres-server.ts";

const call = { timeoutMs: 10_000 };
const get = (store: LedgerStore) => store.executions.get("0".repeat(64), call);
const failure = (answer: Promise<unknown>) => answer.then(() => undefined).catch((error: Error) => error);

describe("a server that speaks German", () => {
  const error = (code: string) => Object.assign(new Error("x"), { code, severity: "FEHLER" });

  it.each(["23505", "40001", "42P01", "54000", "57014"])("leaves the connection usable after %s", (code) => {
    expect(leavesConnectionUsable(error(code))).toBe(true);
  });

  it.each(["08006", "57P01", "57P02", "57P05", "53300", "XX000", "25P03", "25006"])("does not after %s", (code) => {
    expect(leavesConnectionUsable(error(code))).toBe(false);
  });

  it("does not after what is no error of the server's", () => {
    for (const none of [new Error("x"), Object.assign(new Error("x"), { code: "EPIPE" }), undefined]) {
      expect(leavesConnectionUsable(none)).toBe(false);
    }
  });
});

describe("an address that nothing can be reached at", () => {
  it.each([
    ["postgres://u:SECRET@h:notaport/db", /URL/],
    ["postgres://u:SECRET@h:99999/db", /URL/],
    ["postgres://u:SECRET@[::/db", /URL/],
    ["postgres://u:SECRET@h/db?sslmode=verify-full&sslrootcert=/nowhere/SECRET.pem", /sslrootcert/],
  ])("is STORE_MISCONFIGURED at once, and told to nobody: %s", async (address, message) => {
    for (const source of [address, new pg.Pool({ connectionString: address })]) {
      const store = postgresStore(source);
      // Before the call's time is over.
      const error = (await inTime(call.timeoutMs - 1_000, failure(get(store)))) as Error;
      expect(error).toMatchObject({ code: "STORE_MISCONFIGURED", message });
      expect(`${error.stack} ${JSON.stringify(error)} ${error.cause}`).not.toMatch(/SECRET|99999|notaport/);
      await store.close();
    }
  });
});

describePostgres("what stays wrong until somebody changes something", () => {
  const { url, pool } = useDatabase();

  it("is refused at once without a cause: a pool that its user has ended", async () => {
    const own = new pg.Pool({ connectionString: await url() });
    const store = postgresStore(own, { tablePrefix: newPrefix() });
    await get(store);
    await own.end();
    const calls = [
      () => get(store),
      () => store.resources.getDesired("g", call),
      () => store.migrate(),
      () => get(postgresStore(own)),
    ];
    for (const refused of calls) {
      const error = (await failure(refused())) as Error;
      expect(error).toMatchObject({ code: "STORE_UNAVAILABLE", message: /pool is closed/ });
      expect(error.cause).toBeUndefined();
    }
    await store.close();
  });

  it.each(["schema (x int)", "leases (x int)"])("is a table of the user's: %s", async (table) => {
    const tablePrefix = newPrefix();
    await (await pool()).query(`CREATE TABLE ${tablePrefix}${table}`);
    const store = postgresStore(await pool(), { tablePrefix });
    const misconfigured = { code: "STORE_MISCONFIGURED", message: /choose another tablePrefix/ };
    expect(await failure(get(store))).toMatchObject(misconfigured);
    expect(await failure(store.migrate())).toMatchObject(misconfigured);
    await store.close();
  });

  it("is a name that is too long for an index, and its neighbours go on", async () => {
    const store = postgresStore(await pool(), { tablePrefix: newPrefix() });
    const long = Array.from({ length: 400 }, () => randomUUID()).join("");
    const acquire = (name: string) => store.leases.acquire({ name, holder: "h", nonce: "n", durationMs: 1_000 }, call);
    const [refused, ok] = await Promise.all([failure(acquire(long)), acquire("ok")]);
    expect(refused).toMatchObject({ code: "INVALID_OPTIONS", message: /too long/ });
    expect(String(refused)).not.toContain(long.slice(0, 36));
    expect(ok).toMatchObject({ status: "acquired" });
    await store.close();
  });

  it("is not that the ledger was made anew: what completes in a transaction finds it", async () => {
    const own = new pg.Pool({ connectionString: await url() });
    const tablePrefix = newPrefix();
    const schema = `s_${tablePrefix}`;
    await own.query(`CREATE SCHEMA ${schema}`);
    await own.end();
    const within = new pg.Pool({ connectionString: await url(), options: `-c search_path=${schema}` });
    const store = postgresStore(within, { tablePrefix });
    await get(store);
    await within.query(`DROP SCHEMA ${schema} CASCADE`);
    await within.query(`CREATE SCHEMA ${schema}`);
    await postgresStore(within, { tablePrefix }).migrate();
    const claimed = { id: "1".repeat(64), nonce: "n" };
    const request = { ...claimed, operation: "o", scope: "", key: "k", leaseMs: 60_000, retentionMs: 60_000 };
    const granted = await store.executions.claim({ ...request, onAbandoned: "takeover" }, call);
    if (granted.status !== "acquired") throw new Error(granted.status);
    const outcome = { kind: "value", bytes: new Uint8Array(1) } as const;
    const complete = async (): Promise<unknown> => {
      const client = await within.connect();
      await client.query("BEGIN");
      const done = { ...claimed, token: granted.token, outcome, retentionMs: 60_000 };
      const result = await failure(store.executions.completeInTransaction?.(done, client) as Promise<unknown>);
      await client.query(result === undefined ? "COMMIT" : "ROLLBACK");
      client.release();
      return result;
    };
    await complete();
    expect(await complete()).toBeUndefined();
    await store.close();
    await within.end();
  });
});

describePostgresServers("a database of another encoding", () => {
  it("is STORE_MISCONFIGURED before anything is made", async () => {
    const server = await startPostgres({ settings: { fsync: "off" } });
    const admin = new pg.Client(server.url);
    await admin.connect();
    await admin.query("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc");
    await admin.end();
    const address = new URL(server.url);
    address.pathname = "/latin";
    const store = postgresStore(address.href, { listen: false });
    expect(await failure(get(store))).toMatchObject({ code: "STORE_MISCONFIGURED", message: /UTF8/ });
    expect(await failure(store.migrate())).toMatchObject({ code: "STORE_MISCONFIGURED", message: /UTF8/ });
    await store.close();
    await server.stop();
  });
});
