import type { LedgerStore } from "evenkeel";

/** A ledger as one node has it open. */
export interface Ledger {
  readonly store: LedgerStore;
  close(): Promise<void>;
}

/** Opens the ledger of a URL, `postgres://…` or `redis://…`, or of a SQLite file. */
export async function openLedger(database: string): Promise<Ledger> {
  if (/^postgres(ql)?:/.test(database)) {
    const { postgresStore } = await import("evenkeel/postgres");
    return ledgerOf(postgresStore(database));
  }
  if (/^rediss?:/.test(database)) {
    const [{ createClient }, { redisStore }] = await Promise.all([import("redis"), import("evenkeel/redis")]);
    const client = createClient({ url: database });
    await client.connect();
    const store = redisStore(client);
    return {
      store,
      async close() {
        await store.close();
        await client.close();
      },
    };
  }
  const { sqliteStore } = await import("evenkeel/sqlite");
  return ledgerOf(sqliteStore(database));
}

/** Of a store that has nothing beside it to close. */
function ledgerOf(store: LedgerStore): Ledger {
  return { store, close: () => store.close() };
}
