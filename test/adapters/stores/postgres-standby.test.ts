import { execFile } from "node:child_process";
import { appendFile, chmod, chown, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { postgresStore } from "../../../adapters/stores/postgres.ts";
import { withIdempotency } from "../../../src/index.ts";
import { describePostgresServers } from "../../support/engines.ts";
import { inTime } from "../../support/in-time.ts";
import { postgresBinaries } from "../../support/postgres-binaries.ts";
import { type PostgresServer, startPostgres } from "../../support/postgres-server.ts";
import { newFolder } from "../../support/run-folder.ts";
import { ended, endLater, onFreePort, startServerProcess } from "../../support/server-process.ts";

const run = promisify(execFile);
const STORE_TIMEOUT_MS = 20_000;

describePostgresServers("postgresStore on a hot standby", () => {
  let primary: PostgresServer;
  let standby: Standby;

  beforeAll(async () => {
    primary = await startPostgres();
    await withStore(primary.url, "kept_", (call) => call("known"));
    standby = await startStandby(primary);
  }, 60_000);
  afterAll(async () => {
    await standby?.stop();
    await primary?.stop();
  });

  /** Calls a function that counts its runs, on a store of its own. */
  async function withStore<T>(
    source: string | pg.Pool,
    tablePrefix: string,
    work: (call: (key: string) => Promise<number>, runs: () => number) => Promise<T>,
  ): Promise<T> {
    const store = postgresStore(source, { tablePrefix });
    let runs = 0;
    const once = withIdempotency(() => ++runs, { store, operation: "o", storeTimeoutMs: STORE_TIMEOUT_MS });
    try {
      return await work(
        (key) => once("input", { key }),
        () => runs,
      );
    } finally {
      await store.close();
    }
  }

  const refused = {
    code: "STORE_MISCONFIGURED",
    message: expect.stringMatching(/takes no writes: connect to the primary/),
  };

  it.each([
    ["its ledger is there", "kept_"],
    ["it has none", "none_"],
  ])("is STORE_MISCONFIGURED at once and says what to change, when %s", async (_, tablePrefix) => {
    const pool = new pg.Pool({ connectionString: standby.url, max: 1 });
    const asked: unknown[] = [];
    pool.on("connect", (client) => {
      const query = client.query.bind(client) as (...args: unknown[]) => unknown;
      client.query = ((...args: unknown[]) => {
        asked.push(args[0]);
        return query(...args);
      }) as typeof client.query;
    });
    await withStore(pool, tablePrefix, async (call, runs) => {
      await expect(call("new")).rejects.toMatchObject(refused);
      expect(runs()).toBe(0);
    });
    // One look at the ledger, or two where there is none; nothing is tried again.
    expect(asked.length).toBeLessThanOrEqual(2);
    await pool.end();
  });

  it("is STORE_MISCONFIGURED to migrate()", async () => {
    const store = postgresStore(standby.url, { tablePrefix: "none_" });
    await expect(store.migrate()).rejects.toMatchObject(refused);
    await store.close();
  });

  it("is so for a store that knew the primary, well before its time is over; back on the primary it goes on", async () => {
    const pool = new pg.Pool({ connectionString: primary.url, max: 2 });
    await withStore(pool, "moved_", async (call, runs) => {
      expect(await call("before")).toBe(1);
      await standby.caughtUp();
      await leadTo(pool, standby.url);
      await expect(inTime(STORE_TIMEOUT_MS / 2, call("meanwhile"))).rejects.toMatchObject(refused);
      expect(runs()).toBe(1);
      await leadTo(pool, primary.url);
      expect(await call("meanwhile")).toBe(2);
      expect(await call("before")).toBe(1);
    });
    await pool.end();
  });
});

/** What an address that follows the primary does to a pool: its connections end, and new ones lead elsewhere. */
async function leadTo(pool: pg.Pool, url: string): Promise<void> {
  Object.assign(pool.options, { connectionString: url });
  const clients = await Promise.all(Array.from({ length: pool.options.max }, () => pool.connect()));
  for (const client of clients) client.release(true);
}

interface Standby {
  readonly url: string;
  /** Resolves once it has replayed what the primary has written until now. */
  caughtUp(): Promise<void>;
  stop(): Promise<void>;
}

/** A streaming standby of a copy of the primary's folder, made as `pg_basebackup -R` does. */
async function startStandby(primary: PostgresServer): Promise<Standby> {
  const { postgres, owner } = await postgresBinaries();
  const folder = await newFolder("standby");
  await chmod(folder, 0o755);
  const data = join(folder, "data");
  const admin = new pg.Client(primary.url);
  await admin.connect();
  const { data_directory: source } = (await admin.query("SHOW data_directory")).rows[0];
  await admin.query("SELECT pg_backup_start('standby', true)");
  await run("cp", ["-pR", source, data]);
  const { rows } = await admin.query("SELECT labelfile FROM pg_backup_stop()");
  await rm(join(data, "postmaster.pid"));
  await rm(join(data, "pg_wal"), { recursive: true });
  for (const name of ["pg_wal", "pg_wal/archive_status"]) await mkdir(join(data, name), { mode: 0o700 });
  await writeFile(join(data, "backup_label"), rows[0].labelfile);
  await writeFile(join(data, "standby.signal"), "");
  const { password } = new URL(primary.url);
  const conninfo = `host=127.0.0.1 port=${primary.port} user=postgres password=${password}`;
  await appendFile(join(data, "postgresql.auto.conf"), `primary_conninfo = '${conninfo}'\n`);
  if (owner !== undefined) {
    for (const name of ["pg_wal", "pg_wal/archive_status", "backup_label", "standby.signal"]) {
      await chown(join(data, name), owner.uid, owner.gid);
    }
  }
  const urlOf = (port: number): string => primary.url.replace(`:${primary.port}/`, `:${port}/`);
  const settings = { listen_addresses: "127.0.0.1", unix_socket_directories: "", max_connections: "200" };
  const { port, process } = await onFreePort(async (port) => ({
    port,
    process: await startServerProcess({
      command: postgres,
      args: ["-D", data, "-p", String(port), ...Object.entries(settings).flatMap(([k, v]) => ["-c", `${k}=${v}`])],
      folder,
      owner,
      sweepWith: "QUIT",
      ready: () => ask(urlOf(port), "SELECT pg_is_in_recovery() AS answer").then((answer) => answer === true),
    }),
  }));
  const standby: Standby = {
    url: urlOf(port),
    async caughtUp() {
      const { rows } = await admin.query("SELECT pg_current_wal_flush_lsn()::text AS lsn");
      const isThere = `SELECT pg_last_wal_replay_lsn() >= '${rows[0].lsn}'::pg_lsn AS answer`;
      await expect.poll(() => ask(standby.url, isThere), { timeout: 30_000 }).toBe(true);
    },
    async stop() {
      await admin.end();
      process.signal("SIGQUIT");
      await process.ended;
      await rm(folder, { recursive: true, force: true });
      ended(standby);
    },
  };
  endLater(standby);
  return standby;
}

async function ask(url: string, text: string): Promise<unknown> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on("error", () => {});
  try {
    await client.connect();
    return (await client.query(text)).rows[0].answer;
  } finally {
    await client.end().catch(() => {});
  }
}
