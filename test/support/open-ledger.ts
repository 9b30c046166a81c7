import { sqliteStore } from "../../adapters/stores/sqlite.ts";
import type { LedgerStore } from "../../src/index.ts";

/** A ledger as one process of a service has it open. */
export interface OpenLedger {
  readonly store: LedgerStore;
  close(): Promise<void>;
}

/**
 * Opens the ledger of a URL with the driver that a service would take: `sqlite:FILE`, `redis://…` (node-redis),
 * `postgres://…`. What follows `#` is the prefix of its keys or tables, so that tests can share a server.
 */
export async function openLedger(url: string): Promise<OpenLedger> {
  const [address = "", prefix] = url.split("#");
  const [scheme] = address.split(":");
  switch (scheme) {
    case "sqlite": {
      const store = sqliteStore(address.slice("sqlite:".length));
      return { store, close: () => store.close() };
    }
    case "redis": {
      const { createClient } = await import("redis");
      const { redisStore } = await import("../../adapters/stores/redis.ts");
      const client = createClient({ url: address });
      // A connection that breaks is what the tests are about; the store reports it to its callers.
      client.on("error", () => {});
      await client.connect();
      const store = redisStore(client, prefix === undefined ? {} : { keyPrefix: prefix });
      const close = async (): Promise<void> => {
        await store.close();
        client.destroy();
      };
      return { store, close };
    }
    case "postgres":
    case "postgresql": {
      const { postgresStore } = await import("../../adapters/stores/postgres.ts");
      const store = postgresStore(address, prefix === undefined ? {} : { tablePrefix: prefix });
      return { store, close: () => store.close() };
    }
    default:
      throw new Error(`no engine of the scheme ${scheme}`);
  }
}
