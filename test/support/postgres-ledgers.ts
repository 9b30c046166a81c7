import { PGlite } from "@electric-sql/pglite";
import pg from "pg";
import { afterAll } from "vitest";
import { type PostgresStoreOptions, postgresStore } from "../../adapters/stores/postgres.ts";
import type { ConformanceSubject, StoreCapabilities } from "../../src/testing/index.ts";
import { AdjustableClock } from "./adjustable-clock.ts";
import { databaseUrl } from "./engines.ts";

let prefixes = 0;

/** A prefix that no other ledger of this file's database has. */
export function newPrefix(): string {
  prefixes += 1;
  return `t${prefixes}_`;
}

/** A database of this test file's own, and a pool to it, made on first use. */
export function useDatabase(options: pg.PoolConfig = {}): { url(): Promise<string>; pool(): Promise<pg.Pool> } {
  let made: Promise<string> | undefined;
  let pool: pg.Pool | undefined;
  const url = (): Promise<string> => {
    made ??= databaseUrl();
    return made;
  };
  afterAll(async () => pool?.end());
  return {
    url,
    async pool() {
      const connectionString = await url();
      pool ??= new pg.Pool({ connectionString, max: 4, ...options });
      return pool;
    },
  };
}

/** A PGlite database, made on first use. */
export function usePGlite(): () => Promise<PGlite> {
  let made: Promise<PGlite> | undefined;
  afterAll(async () => (await made)?.close());
  return () => {
    made ??= PGlite.create();
    return made;
  };
}

/** What the subjects of {@link frozenLedger} are held to. */
export const CAPABILITIES: StoreCapabilities = {
  exactTime: true,
  watch: "shared",
  // Every few grants of a claim delete expired records, so purge() can't count them all.
  purge: false,
  hooks: ["reopen", "transact", "stall"],
  damages: {
    ledger: ["newerFormat"],
    executions: ["newerFormat", "missingField", "wrongType"],
    leases: ["missingField", "wrongType"],
    resources: ["newerFormat", "missingField", "wrongType"],
    fences: ["missingField", "wrongType"],
  },
};

/** A ledger in which time stands still, but for what the conformance suite moves it on. */
export async function frozenLedger(
  source: pg.Pool | PGlite,
  options: PostgresStoreOptions = {},
): Promise<ConformanceSubject> {
  const clock = new AdjustableClock();
  const { tablePrefix = newPrefix() } = options;
  const open = () => postgresStore(source, { listen: true, ...options, clock, tablePrefix });
  const query = (text: string, values: unknown[] = []): Promise<{ rows: unknown[] }> =>
    source instanceof PGlite ? source.query(text, values) : source.query(text, values);
  const setTime = (): Promise<unknown> =>
    query(`CREATE OR REPLACE FUNCTION ${tablePrefix}now() RETURNS bigint LANGUAGE sql VOLATILE
      AS 'SELECT ${now}::bigint'`);
  let now = Date.now();
  let isStalled = false;
  const store = open();
  await store.migrate();
  await setTime();
  return {
    store,
    // The one connection of PGlite can't be asked by others while a transaction is open, which the cases of both hooks do.
    ...(source instanceof PGlite ? {} : { reopen: async () => open() }),
    async advance(ms) {
      now += ms;
      if (!isStalled) await setTime();
      clock.advance(ms);
    },
    dispose: () => store.close(),
    transact: (work, end) => (source instanceof PGlite ? transactIn(source, work, end) : transactOn(source, work, end)),
    async stall() {
      const letGo = await (source instanceof PGlite ? stallPGlite(source) : stallPool(source));
      isStalled = true;
      return async () => {
        isStalled = false;
        await letGo();
        await setTime();
      };
    },
    async corrupt(record, damage) {
      const { table, where, value } = rowOf(record);
      const change = CHANGES[record.part]?.[damage];
      await query(`UPDATE ${tablePrefix}${table} SET ${change} ${where}`, value);
      return { raw: async () => (await query(`SELECT * FROM ${tablePrefix}${table} ${where}`, value)).rows };
    },
  };
}

type Corrupt = NonNullable<ConformanceSubject["corrupt"]>;
type Transact = NonNullable<ConformanceSubject["transact"]>;

const CHANGES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  ledger: { newerFormat: "version = 99" },
  executions: { newerFormat: "format = 99", missingField: "nonce = NULL", wrongType: "status = 'banana'" },
  leases: { missingField: "nonce = NULL", wrongType: "epoch = -1" },
  resources: { newerFormat: "format = 99", missingField: "nonce = NULL", wrongType: "state = 'banana'" },
  fences: { missingField: "epoch = NULL", wrongType: "epoch = -1" },
};

function rowOf(record: Parameters<Corrupt>[0]): { table: string; where: string; value: string[] } {
  switch (record.part) {
    case "ledger":
      return { table: "schema", where: "", value: [] };
    case "executions":
      return { table: "executions", where: "WHERE id = $1", value: [record.id] };
    case "leases":
      return { table: "leases", where: "WHERE name = $1", value: [record.name] };
    case "resources":
      return { table: "resources", where: "WHERE group_name = $1 AND id = $2", value: [record.group, record.id] };
    case "fences":
      return { table: "fences", where: "WHERE group_name = $1 AND name = $2", value: [record.group, record.name] };
  }
}

async function transactOn(pool: pg.Pool, ...[work, end]: Parameters<Transact>): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    await work(client);
    await client.query(end);
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  } finally {
    client.release();
  }
}

async function transactIn(db: PGlite, ...[work, end]: Parameters<Transact>): Promise<void> {
  let isDone = false;
  const ended = db.transaction(async (tx) => {
    await work(tx);
    if (end === "rollback") await tx.rollback();
    isDone = true;
  });
  await ended.catch((error: Error) => {
    // PGlite says by itself that a transaction in which something had failed could not be committed.
    if (!isDone || !error.message.includes("rolled back instead of committed")) throw error;
  });
}

/** Takes every connection that the pool may have. */
async function stallPool(pool: pg.Pool): Promise<() => Promise<void>> {
  const taken = await Promise.all(Array.from({ length: pool.options.max }, () => pool.connect()));
  return async () => {
    for (const client of taken) client.release();
  };
}

/** Opens a transaction on the only connection. */
function stallPGlite(db: PGlite): Promise<() => Promise<void>> {
  return new Promise((resolve) => {
    let release = (): void => {};
    const held = new Promise<void>((letGo) => {
      release = letGo;
    });
    const ended = db.transaction(() => {
      resolve(async () => {
        release();
        await ended;
      });
      return held;
    });
  });
}
