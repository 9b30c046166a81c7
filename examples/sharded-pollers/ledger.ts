import type { LedgerStore } from "evenkeel";

/** A ledger as one poller has it open. */
export interface Ledger {
  readonly store: LedgerStore;
  close(): Promise<void>;
}

/** Opens the ledger of a URL, `postgres://…` or `redis://…`, or of a SQLite file. */
export async function openLedger(database: string): Promise<Ledger> {
  if (/^postgres(ql)?:/.test(database)) {
    const { postgresStore } = await import("evenkeel/postgres");
    const store = postgresStore(database);
    return { store, close: () => store.close() };
  }
  if (/^rediss?:/.test(database)) {
    const [{ createClient }, { redisStore }] = await Promise.all([import("redis"), import("evenkeel/redis")]);
    const client = createClient({ url: database });
    // Where the connection breaks, the coordinator is told by its calls.
    client.on("error", () => {});
    await client.connect();
    const store = redisStore(client);
    return {
      store,
      async close() {
        await store.close();
        client.destroy();
      },
    };
  }
  const { sqliteStore } = await import("evenkeel/sqlite");
  // With leases as short as here, renewals come by the hundred a second: they need not wait for the disk, for once.
  const store = sqliteStore(database, { synchronous: "normal" });
  return { store, close: () => store.close() };
}
