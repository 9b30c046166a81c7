import { chown, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { postgresStore } from "../../../adapters/stores/postgres.ts";
import { withIdempotency } from "../../../src/index.ts";
import { AdjustableClock } from "../../support/adjustable-clock.ts";
import { describePgbouncer, describePostgresServers } from "../../support/engines.ts";
import { startPgbouncer } from "../../support/pgbouncer.ts";
import { postgresBinaries } from "../../support/postgres-binaries.ts";
import { type PostgresServer, startPostgres } from "../../support/postgres-server.ts";
import { until } from "../../support/until.ts";
import { examined, refusal } from "./doctor-examination.ts";

const SERVER_CHECKS = [
  ...["version", "read-only", "synchronous-commit", "fsync", "full-page-writes", "synchronous-standbys", "connections"],
  ...["pooler", "idle-in-transaction", "long-transactions", "clock", "latency"],
];
const LEDGER_CHECKS = ["privileges", "indexes", "dead-rows", "autovacuum", "sequence"];

describePostgresServers("evenkeel doctor of a PostgreSQL", () => {
  let server: PostgresServer;
  let url: string;
  let admin: pg.Client;

  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server?.stop());
  beforeEach(async () => {
    url = await server.createDatabase();
    await withLedger(url);
    admin = await connected(url);
  });
  afterEach(() => admin.end());

  async function connected(connectionString: string): Promise<pg.Client> {
    const client = new pg.Client({ connectionString });
    client.on("error", () => {});
    await client.connect();
    return client;
  }

  /** A ledger with a few records. */
  async function withLedger(at: string): Promise<void> {
    const store = postgresStore(at);
    const pay = withIdempotency(() => "paid", { store, operation: "pay" });
    await Promise.all(Array.from({ length: 5 }, (_, key) => pay({}, { key: `key-${key}` })));
    await store.close();
  }

  async function database(): Promise<string> {
    return (await admin.query("SELECT current_database() AS name")).rows[0].name;
  }

  it("finds nothing on a durable one, and has made every check", async () => {
    const examination = await examined(url, { limits: { latencyMs: 5_000 } });
    expect(examination.findings).toEqual([]);
    expect(examination.unknown).toEqual([]);
    for (const id of [...SERVER_CHECKS, ...LEDGER_CHECKS]) expect(examination.fine).toContain(`pg-${id}`);
    expect(examination.fine).toEqual(expect.arrayContaining(["executions-unreadable", "leases-unreadable"]));
  });

  it("finds commits that are acknowledged before they are on the disk", async () => {
    await admin.query(`ALTER DATABASE ${await database()} SET synchronous_commit = off`);
    expect((await examined(url)).of("pg-synchronous-commit")).toMatchObject([
      { severity: "error", change: expect.stringMatching(/synchronous_commit = on/) },
    ]);
  });

  it("finds switches that a crash of the machine turns into damage, and autovacuum that is off", async () => {
    const switches = ["fsync", "full_page_writes", "autovacuum"];
    try {
      for (const name of switches) await admin.query(`ALTER SYSTEM SET ${name} = off`);
      await admin.query("SELECT pg_reload_conf()");
      await until("they are off", async () => (await admin.query("SHOW fsync")).rows[0].fsync === "off");
      const { of } = await examined(url);
      expect(of("pg-fsync")).toMatchObject([{ severity: "error" }]);
      expect(of("pg-full-page-writes")).toMatchObject([{ severity: "error" }]);
      expect(of("pg-autovacuum")).toMatchObject([{ severity: "warning" }]);
    } finally {
      for (const name of switches) await admin.query(`ALTER SYSTEM RESET ${name}`);
      await admin.query("SELECT pg_reload_conf()");
      await until("they are on", async () => (await admin.query("SHOW fsync")).rows[0].fsync === "on");
    }
  });

  it("finds a database that is read-only, though no store would open it", async () => {
    await admin.query(`ALTER DATABASE ${await database()} SET default_transaction_read_only = on`);
    const { of, unknown } = await examined(url);
    expect(of("pg-read-only")).toMatchObject([{ severity: "error" }]);
    expect(unknown).toMatchObject([{ id: "ledger" }]);
  });

  it("finds a standby that nothing waits for", async () => {
    const { lsn } = (await admin.query("SELECT pg_current_wal_flush_lsn()::text AS lsn")).rows[0];
    const standby = new pg.Client({ connectionString: url, replication: "true" } as pg.ClientConfig);
    standby.on("error", () => {});
    await standby.connect();
    standby.query(`START_REPLICATION PHYSICAL ${lsn}`).catch(() => {});
    const streams = "SELECT FROM pg_stat_replication WHERE state = 'streaming'";
    await until("it streams", async () => (await admin.query(streams)).rowCount === 1);
    expect((await examined(url)).of("pg-synchronous-standbys")).toMatchObject([
      { severity: "warning", what: expect.stringMatching(/1 standby and/) },
    ]);
    (standby as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    await until("it is gone", async () => (await admin.query(streams)).rowCount === 0);
  });

  it("finds that hardly a connection is left", async () => {
    await admin.query(`ALTER DATABASE ${await database()} CONNECTION LIMIT 10`);
    // Superusers are not counted against it, but they count.
    const limits = { connectionsLeftShare: 0.95 };
    expect((await examined(url, { limits })).of("pg-connections")).toMatchObject([{ subject: "the database" }]);
    await admin.query(`ALTER DATABASE ${await database()} CONNECTION LIMIT -1`);
    expect((await examined(url)).isFine("pg-connections")).toBe(true);
  });

  it("finds sessions that are idle in a transaction, and transactions that go on for long", async () => {
    const limits = { idleInTransactionMs: 100, transactionMs: 100 };
    const idle = await connected(url);
    await idle.query("BEGIN");
    const long = await connected(url);
    const sleeping = long.query("SELECT pg_sleep(600)").catch(() => {});
    await until("both have gone on for long", async () => {
      const { of } = await examined(url, { limits });
      return of("pg-idle-in-transaction").length === 1 && of("pg-long-transactions").length === 1;
    });
    await idle.query("COMMIT");
    await admin.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'");
    await sleeping;
    await idle.end();
    await long.end().catch(() => {});
    await until("neither is there", async () => {
      const { isFine } = await examined(url, { limits });
      return isFine("pg-idle-in-transaction") && isFine("pg-long-transactions");
    });
  });

  it("finds a table that is not vacuumed, and full of dead rows", async () => {
    const limits = { deadRows: 10 };
    await admin.query("ALTER TABLE evenkeel_leases SET (autovacuum_enabled = false)");
    await admin.query(
      "INSERT INTO evenkeel_leases SELECT 'l' || n, 'h', 'n', 1, 0, 1, 1 FROM generate_series(1, 200) n",
    );
    await admin.query("DELETE FROM evenkeel_leases");
    await admin.query("SELECT pg_stat_force_next_flush()");
    await until("the dead rows are counted", async () => {
      return (await examined(url, { limits })).of("pg-dead-rows").some(({ subject }) => subject === "evenkeel_leases");
    });
    const [off] = (await examined(url, { limits })).of("pg-autovacuum");
    expect(off).toMatchObject({ severity: "warning", subject: "evenkeel_leases" });
    await admin.query(/`(.*)`/.exec(off?.change ?? "")?.[1] ?? "");
    await admin.query("VACUUM evenkeel_leases");
    await until("they are gone", async () => (await examined(url, { limits })).isFine("pg-dead-rows"));
    expect((await examined(url)).isFine("pg-autovacuum")).toBe(true);
  });

  it("finds indexes that are missing or broken, and the statements that mend them", async () => {
    await admin.query("DROP INDEX evenkeel_executions_expiry");
    await admin.query(
      "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'evenkeel_resources_changed'::regclass",
    );
    const findings = (await examined(url)).of("pg-indexes");
    expect(findings).toMatchObject([
      { severity: "warning", subject: "evenkeel_executions_expiry", what: expect.stringMatching(/missing/) },
      { severity: "warning", subject: "evenkeel_resources_changed", what: expect.stringMatching(/invalid/) },
    ]);
    for (const { change } of findings) await admin.query(/`(.*)`/.exec(change)?.[1] ?? "");
    expect((await examined(url)).isFine("pg-indexes")).toBe(true);
  });

  it("finds a sequence that is behind the rows", async () => {
    await admin.query("SELECT setval('evenkeel_tokens', 1)");
    const [finding] = (await examined(url)).of("pg-sequence");
    expect(finding).toMatchObject({ severity: "warning" });
    await admin.query(/`(.*)`/.exec(finding?.change ?? "")?.[1] ?? "");
    expect((await examined(url)).isFine("pg-sequence")).toBe(true);
  });

  it("finds what a user may not do", async () => {
    const role = `app_${await database()}`;
    await admin.query(`CREATE ROLE ${role} LOGIN PASSWORD 'app'`);
    await admin.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${role}`);
    await admin.query(`REVOKE INSERT ON evenkeel_executions FROM ${role}`);
    await admin.query(`GRANT USAGE, SELECT ON SEQUENCE evenkeel_tokens TO ${role}`);
    await admin.query("REVOKE ALL ON FUNCTION evenkeel_purge FROM PUBLIC");
    const as = new URL(url);
    Object.assign(as, { username: role, password: "app" });
    const findings = (await examined(as.href)).of("pg-privileges");
    expect(findings.map(({ what }) => what).sort()).toEqual([
      expect.stringMatching(/lacks EXECUTE ON FUNCTION evenkeel_purge\(bigint\)/),
      expect.stringMatching(/lacks INSERT ON "public"."evenkeel_executions"/),
      expect.stringMatching(/lacks UPDATE ON SEQUENCE "public"."evenkeel_tokens"/),
    ]);
    for (const { change } of findings) await admin.query((/`(.*)`/.exec(change)?.[1] ?? "").replace("…", role));
    expect((await examined(as.href)).isFine("pg-privileges")).toBe(true);
    await admin.query(`DROP OWNED BY ${role}`);
    await admin.query(`DROP ROLE ${role}`);
  });

  it("finds all that a user lacks who may do nothing, and what else is wrong with the server", async () => {
    const name = await database();
    const role = `nobody_${name}`;
    await admin.query(`CREATE ROLE ${role} LOGIN PASSWORD 'app'`);
    await admin.query(`ALTER DATABASE ${name} SET synchronous_commit = off`);
    const as = new URL(url);
    Object.assign(as, { username: role, password: "app" });
    const before = await examined(as.href);
    expect(before.of("pg-synchronous-commit")).toMatchObject([{ severity: "error" }]);
    expect(before.of("pg-privileges").map(({ what }) => what)).toEqual(
      expect.arrayContaining(['this user lacks SELECT ON "public"."evenkeel_schema"']),
    );
    for (const { change } of before.of("pg-privileges"))
      await admin.query((/`(.*)`/.exec(change)?.[1] ?? "").replace("…", role));
    expect((await examined(as.href)).isFine("pg-privileges")).toBe(true);
    await admin.query(`DROP OWNED BY ${role}`);
    await admin.query(`DROP ROLE ${role}`);
  });

  it("finds a clock that is far from ours", async () => {
    const clock = new AdjustableClock();
    clock.advance(-3_600_000);
    expect((await examined(url, { clock })).of("pg-clock")).toMatchObject([
      { what: expect.stringMatching(/ahead of/) },
    ]);
  });

  it("finds records that lists leave out, and names no key", async () => {
    await admin.query("UPDATE evenkeel_executions SET status = 'banana' WHERE key IN ('key-1', 'key-3')");
    await admin.query("INSERT INTO evenkeel_leases VALUES ('billing', 'node-1', NULL, 1, 0, 1000, 1)");
    const { of } = await examined(url);
    expect(of("executions-unreadable")).toMatchObject([
      { severity: "error", what: expect.stringMatching(/^2 records/) },
    ]);
    expect(JSON.stringify(of("executions-unreadable"))).not.toContain("key-");
    expect(of("leases-unreadable")).toMatchObject([{ severity: "error", subject: "billing" }]);
  });

  it("refuses a database without a ledger, one of a newer format, and a server that is not there", async () => {
    expect(await refusal(await server.createDatabase())).toMatch(/holds no ledger/);
    await admin.query("UPDATE evenkeel_schema SET version = 9");
    expect(await refusal(url)).toMatch(/newer than 1: upgrade evenkeel/);
    // Whatever else is wrong with the server.
    await admin.query(`ALTER DATABASE ${await database()} SET synchronous_commit = off`);
    expect(await refusal(url)).toMatch(/newer than 1: upgrade evenkeel/);
    const nowhere = "postgres://postgres:secret@127.0.0.1:1/postgres";
    expect(await refusal(nowhere, { timeoutMs: 2_000 })).toMatch(/can't be reached/);
  });

  it("finds a standby by its URL", async () => {
    const standby = await startPostgres();
    try {
      const client = await connected(standby.url);
      const folder = (await client.query("SHOW data_directory")).rows[0].data_directory;
      await client.end();
      const signal = join(folder, "standby.signal");
      await writeFile(signal, "");
      const { owner } = await postgresBinaries();
      if (owner !== undefined) await chown(signal, owner.uid, owner.gid);
      await standby.restart();
      expect((await examined(standby.url)).of("pg-read-only")).toMatchObject([
        { severity: "error", what: expect.stringMatching(/leads to a standby/) },
      ]);
    } finally {
      await standby.stop();
    }
  });
});

describePgbouncer("evenkeel doctor through a pgbouncer", () => {
  it("sees that something stands between, and makes its checks all the same", async () => {
    const server = await startPostgres();
    const pooler = await startPgbouncer(server);
    try {
      const direct = await server.createDatabase();
      const store = postgresStore(direct);
      await store.migrate();
      await store.close();
      const through = await examined(pooler.url(direct));
      expect(through.of("pg-pooler")).toMatchObject([
        { severity: "hint", change: expect.stringMatching(/listen: URL/) },
      ]);
      expect(through.findings.filter(({ severity }) => severity !== "hint")).toEqual([]);
      expect((await examined(direct)).isFine("pg-pooler")).toBe(true);
    } finally {
      await pooler.stop();
      await server.stop();
    }
  });
});
