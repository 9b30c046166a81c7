import type { Clock } from "../../src/clock.ts";
import {
  hasMethods,
  type PostgresDriver,
  type PostgresPool,
  type PostgresPoolClient,
  type PostgresRow,
  RAW_TYPES,
} from "./postgres-driver.ts";
import { leavesConnectionUsable, misconfigured } from "./postgres-errors.ts";

/** How long a connection of our own may take to come about. */
const LONGEST_CONNECTING_MS = 10_000;
/** How long connections of our own may take to say goodbye to the server. */
const LONGEST_PARTING_MS = 1_000;

export interface PoolDriverOptions {
  readonly clock: Clock;
  /** Where to listen, when not with the pool's own settings. */
  readonly listenUrl: string | undefined;
}

/** The driver for a pool of the user's, which is never ended. */
export function userPool(pool: PostgresPool, options: PoolDriverOptions): PostgresDriver {
  const ignore = (): void => {};
  // An idle connection that breaks is an `error` event of the pool's, which ends a process in which nobody listens.
  const isAlone = pool.listenerCount("error") === 0;
  if (isAlone) pool.on("error", ignore);
  return poolDriver({
    ...options,
    open: async () => pool,
    close: async () => {
      if (isAlone) pool.removeListener("error", ignore);
    },
  });
}

/** The driver for a URL: a pool of our own, made on first use. */
export function ownPool(url: string, options: PoolDriverOptions): PostgresDriver {
  const { clock } = options;
  let opened: Promise<OwnPool> | undefined;
  const sockets = new Set<{ destroy(): void }>();
  const open = (): Promise<PostgresPool> => {
    opened ??= openPool(url).then((pool) => {
      pool.on("error", () => {});
      pool.on("connect", ({ connection: { stream } }) => {
        sockets.add(stream);
        stream.once("close", () => sockets.delete(stream));
      });
      return pool;
    });
    opened.catch(() => {
      opened = undefined;
    });
    return opened;
  };
  return poolDriver({
    ...options,
    open,
    close: async () => {
      const pool = await opened?.catch(() => undefined);
      if (pool === undefined) return;
      await new Promise<void>((resolve) => {
        // A server that has stopped never says goodbye.
        const timer = clock.setTimer(LONGEST_PARTING_MS, () => {
          for (const socket of sockets) socket.destroy();
          resolve();
        });
        pool.end().then(() => {
          timer.clear();
          resolve();
        });
      });
    },
  });
}

interface OwnPool extends PostgresPool {
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "connect", listener: (client: OwnPoolClient) => void): unknown;
  end(): Promise<void>;
}

interface OwnPoolClient {
  readonly connection: { readonly stream: { destroy(): void; once(event: "close", listener: () => void): unknown } };
}

interface PgModule {
  readonly Pool: new (options: object) => OwnPool;
  readonly Client: new (options: object) => ListeningClient;
}

interface ListeningClient {
  connect(): Promise<unknown>;
  query(text: string): Promise<unknown>;
  end(): Promise<unknown>;
  unref?(): void;
  on(event: "error" | "end", listener: () => void): unknown;
  on(event: "notification", listener: (message: { payload?: string }) => void): unknown;
}

async function importPg(): Promise<PgModule> {
  // A variable keeps bundlers from resolving an optional peer.
  const driver = "pg";
  try {
    const loaded = (await import(/* @vite-ignore */ driver)) as PgModule & { default?: PgModule };
    return loaded.default ?? loaded;
  } catch (cause) {
    throw misconfigured("no driver was found: install pg, or pass a PGlite database.", { cause });
  }
}

async function openPool(url: string): Promise<OwnPool> {
  const { Pool } = await importPg();
  return new Pool({
    connectionString: url,
    connectionTimeoutMillis: LONGEST_CONNECTING_MS,
    // An idle ledger must not keep the process alive.
    allowExitOnIdle: true,
    keepAlive: true,
    fallback_application_name: "evenkeel",
  });
}

interface PoolAccess extends PoolDriverOptions {
  open(): Promise<PostgresPool>;
  close(): Promise<void>;
}

function poolDriver({ clock, listenUrl, open, close }: PoolAccess): PostgresDriver {
  const connect = async (): Promise<PostgresPoolClient> => (await open()).connect();

  return {
    async run(compose) {
      // It may take as long as it wants: whoever waits for it has a timer of his own, and `compose` knows who is left.
      const client = await connect();
      let statement: ReturnType<typeof compose>;
      try {
        statement = compose();
      } finally {
        if (statement === undefined) client.release();
      }
      if (statement === undefined) return [];
      const { text, values, deadline } = statement;
      return holding(client, clock, deadline, () => query(client, text, values));
    },

    async transaction(deadline, work) {
      const client = await connect();
      const session = {
        query: (text: string, values: readonly string[] = []) => query(client, text, values),
        script: async (text: string) => void (await client.query({ text })),
      };
      return holding(client, clock, deadline, async () => {
        await session.script("BEGIN ISOLATION LEVEL READ COMMITTED");
        try {
          const result = await work(session);
          await session.script("COMMIT");
          return result;
        } catch (error) {
          await session.script("ROLLBACK");
          throw error;
        }
      });
    },

    async listen(channel, onNotification, onLost) {
      const client = await listeningClient(await open(), listenUrl);
      client.on("error", onLost);
      client.on("end", onLost);
      client.on("notification", ({ payload = "" }) => onNotification(payload));
      client.unref?.();
      await client.connect();
      client.unref?.();
      await client.query(`LISTEN "${channel}"`);
      return () => void client.end().catch(() => {});
    },

    close,
  };
}

async function query(
  client: PostgresPoolClient,
  text: string,
  values: readonly (string | Uint8Array | null)[],
): Promise<PostgresRow[]> {
  const { rows } = await client.query({ text, values, types: RAW_TYPES });
  return rows as PostgresRow[];
}

/** Does `work` on a client and gives it back; in any doubt in such a way that the pool ends the connection. */
function holding<T>(client: PostgresPoolClient, clock: Clock, deadline: number, work: () => Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    let settled = false;
    const settle = (error: Error | undefined, outcome: () => void): void => {
      if (settled) return;
      settled = true;
      timer.clear();
      const usable = error === undefined || leavesConnectionUsable(error);
      // A connection that ends may complain later: its listener stays.
      if (usable) client.removeListener("error", fail);
      client.release(usable ? undefined : error);
      outcome();
    };
    const fail = (error: Error): void => settle(error, () => reject(error));
    const leftMs = Math.max(0, deadline - clock.monotonic());
    const timer = clock.setTimer(leftMs, () => fail(new Error(`no answer within ${Math.ceil(leftMs)} ms`)));
    client.on("error", fail);
    work().then((value) => settle(undefined, () => resolve(value)), fail);
  });
}

async function listeningClient(pool: PostgresPool, url: string | undefined): Promise<ListeningClient> {
  const extra = { connectionTimeoutMillis: LONGEST_CONNECTING_MS, keepAlive: true };
  if (url !== undefined) return new (await importPg()).Client({ connectionString: url, ...extra });
  const { Client, options = {} } = pool;
  // `pg` hides the password from those who list the options.
  const settings = { ...options, password: (options as { password?: unknown }).password, ...extra };
  if (Client === undefined || !hasMethods(Client.prototype, "connect", "query", "end")) {
    throw misconfigured("the pool does not tell its class of clients: name a URL in `listen`.");
  }
  return new Client(settings) as ListeningClient;
}
