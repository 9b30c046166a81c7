import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { describe, expect, it } from "vitest";
import { type PostgresStoreOptions, postgresStore } from "../../../adapters/stores/postgres.ts";
import { type LedgerStore, withIdempotency } from "../../../src/index.ts";
import { describePostgres } from "../../support/engines.ts";
import { newPrefix, useDatabase } from "../../support/postgres-ledgers.ts";

/** However busy the machine is. */
const POLL = { timeout: 30_000 };

const URL_OF_NOBODY = "postgres://nobody@127.0.0.1:1/nothing";

const call = (store: LedgerStore, key = "k"): Promise<string> =>
  withIdempotency(() => "done", { store, operation: "o", storeTimeoutMs: 20_000 })("input", { key });

describe("wrong options", () => {
  it.each(['x"; DROP TABLE', "", "Upper", "9lives", "a".repeat(42)])("refuse the table prefix %j", (tablePrefix) => {
    expect(() => postgresStore(URL_OF_NOBODY, { tablePrefix })).toThrow(
      expect.objectContaining({ code: "STORE_MISCONFIGURED", message: expect.stringContaining("tablePrefix") }),
    );
  });

  it.each([
    [{ migrate: 1 }, "migrate"],
    [{ listen: "redis://x" }, "listen"],
    [{ busyTimeout: 5 }, "busyTimeout"],
  ])("refuse the options %j by name", (options, name) => {
    expect(() => postgresStore(URL_OF_NOBODY, options as never)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining(name) }),
    );
  });

  it("refuse what is neither a pool nor PGlite nor a URL", () => {
    for (const wrong of ["", "ledger.db", undefined, 7, {}, new pg.Client(URL_OF_NOBODY)]) {
      expect(() => postgresStore(wrong as never)).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }));
    }
  });
});

describePostgres("a PostgreSQL that does not fit", () => {
  const { url, pool } = useDatabase();
  const misconfigured = async (source: string | pg.Pool, message: RegExp, options: PostgresStoreOptions = {}) => {
    const store = postgresStore(source, { tablePrefix: newPrefix(), ...options });
    const error = await call(store).catch((thrown: Error) => thrown);
    expect(error).toMatchObject({ code: "STORE_MISCONFIGURED", message });
    expect(String((error as Error).stack)).not.toContain(new URL(await url()).password);
    await store.close();
  };
  const changed = async (change: (address: URL) => void): Promise<string> => {
    const address = new URL(await url());
    change(address);
    return address.href;
  };

  it("is told apart: another password, no such database", async () => {
    await misconfigured(await changed((address) => (address.pathname = "/nowhere")), /database does not exist/);
    const users = await (await pool()).query("SHOW password_encryption");
    expect(users.rows).toHaveLength(1);
    await misconfigured(await changed((address) => (address.password = "wrong")), /user, password/);
  });

  it("takes no writes", async () => {
    const readOnly = new pg.Pool({ connectionString: await url(), options: "-c default_transaction_read_only=on" });
    await misconfigured(readOnly, /primary/);
    await readOnly.end();
  });

  it("has no schema to create tables in", async () => {
    const nowhere = new pg.Pool({ connectionString: await url(), options: "-c search_path=nowhere" });
    await misconfigured(nowhere, /search_path/);
    await nowhere.end();
  });

  it("lets the user create nothing; what it needs is enough once the ledger is there", async () => {
    const admin = await pool();
    const tablePrefix = newPrefix();
    await admin.query("DROP ROLE IF EXISTS evenkeel_app");
    await admin.query("CREATE ROLE evenkeel_app LOGIN PASSWORD 'app'");
    const limited = await changed((address) => {
      address.username = "evenkeel_app";
      address.password = "app";
    });
    const store = postgresStore(limited, { tablePrefix, listen: false });
    await expect(call(store)).rejects.toMatchObject({ code: "STORE_MISCONFIGURED", message: /privilege/ });
    await postgresStore(admin, { tablePrefix }).migrate();
    await admin.query("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO evenkeel_app");
    await admin.query("GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO evenkeel_app");
    expect(await call(store)).toBe("done");
    await store.close();
    await admin.query("DROP OWNED BY evenkeel_app");
    await admin.query("DROP ROLE evenkeel_app");
  });

  it("holds no ledger, with migrate: false; migrate() makes it, and the same store goes on", async () => {
    const store = postgresStore(await pool(), { tablePrefix: newPrefix(), migrate: false });
    await expect(call(store)).rejects.toMatchObject({ code: "STORE_MISCONFIGURED", message: /migrate\(\)/ });
    await store.migrate();
    await store.migrate();
    expect(await call(store)).toBe("done");
    await store.close();
  });

  it("holds a ledger of a newer schema, which stays as it is", async () => {
    const tablePrefix = newPrefix();
    const first = postgresStore(await pool(), { tablePrefix });
    await call(first);
    await (await pool()).query(`UPDATE ${tablePrefix}schema SET version = 99`);
    await misconfigured(await pool(), /newer/, { tablePrefix });
    await expect(first.migrate()).rejects.toMatchObject({ code: "STORE_MISCONFIGURED", message: /newer/ });
    await first.close();
  });

  it("has the user's search_path changed under the store: it goes on with its own ledger", async () => {
    const one = new pg.Pool({ connectionString: await url(), max: 1 });
    const store = postgresStore(one, { tablePrefix: newPrefix() });
    await call(store);
    await one.query("SET search_path = pg_catalog");
    expect(await call(store)).toBe("done");
    await store.close();
    await one.end();
  });

  it("has lost the ledger: it is made again by the next call", async () => {
    const tablePrefix = newPrefix();
    const store = postgresStore(await pool(), { tablePrefix });
    await call(store);
    const { rows } = await (await pool()).query(
      "SELECT oid::regprocedure AS name FROM pg_proc WHERE starts_with(proname, $1)",
      [tablePrefix],
    );
    for (const { name } of rows) await (await pool()).query(`DROP FUNCTION ${name} CASCADE`);
    await (await pool()).query(`DROP TABLE ${tablePrefix}schema, ${tablePrefix}executions, ${tablePrefix}steps,
      ${tablePrefix}leases CASCADE; DROP SEQUENCE ${tablePrefix}tokens CASCADE`);
    const { rows: rest } = await (await pool()).query(
      "SELECT tablename FROM pg_tables WHERE starts_with(tablename, $1)",
      [tablePrefix],
    );
    for (const { tablename } of rest) await (await pool()).query(`DROP TABLE ${tablename} CASCADE`);
    const { rows: sequences } = await (await pool()).query(
      "SELECT sequencename FROM pg_sequences WHERE starts_with(sequencename, $1)",
      [tablePrefix],
    );
    for (const { sequencename } of sequences) await (await pool()).query(`DROP SEQUENCE ${sequencename} CASCADE`);
    expect(await call(store)).toBe("done");
    await store.close();
  });
});

describePostgres("close()", () => {
  const { url, pool } = useDatabase();

  it("leaves the user's pool open and without a listener of ours", async () => {
    const users = await pool();
    const before = users.listenerCount("error");
    const store = postgresStore(users, { tablePrefix: newPrefix() });
    await call(store);
    await Promise.all([store.close(), store.close()]);
    expect((await users.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
    expect(users.listenerCount("error")).toBe(before);
    await expect(call(store)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  });

  it("ends every connection that the store opened itself, that for LISTEN too", async () => {
    const address = `${await url()}?application_name=closing`;
    const store = postgresStore(address, { tablePrefix: newPrefix() });
    await call(store);
    const end = store.executions.watch?.("0".repeat(64), () => {});
    const connections = async (): Promise<number> => {
      const { rows } = await (await pool()).query(
        "SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'closing'",
      );
      return rows[0].n;
    };
    await expect.poll(connections, POLL).toBe(2);
    end?.();
    await store.close();
    await expect.poll(connections, POLL).toBe(0);
  });

  it("need not be called for an idle process to exit", async () => {
    const script = fileURLToPath(new URL("../../support/postgres-idle-process.ts", import.meta.url));
    const child = spawn(process.execPath, ["--import", "tsx", "--no-warnings", script, await url()]);
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => {
        output += chunk;
      });
    }
    const giveUp = setTimeout(() => child.kill("SIGKILL"), 90_000);
    const [code] = await once(child, "exit");
    clearTimeout(giveUp);
    expect({ code, output }).toEqual({ code: 0, output: "idle\n" });
  });
});
