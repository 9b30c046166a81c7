import type { EventEmitter } from "node:events";
import type { Clock } from "../../src/clock.ts";
import { PostgresDesk } from "./postgres-desk.ts";
import {
  type PostgresDriver,
  type PostgresPool,
  type PostgresPoolClient,
  type PostgresRow,
  RAW_TYPES,
} from "./postgres-driver.ts";
import { leavesConnectionUsable, poolClosedError } from "./postgres-errors.ts";
import { importPg, type OwnPool, PostgresListeners } from "./postgres-listeners.ts";

/** How long a connection of our own may take to come about. */
const LONGEST_CONNECTING_MS = 10_000;
/** How long connections of our own may take to say goodbye to the server. */
const LONGEST_PARTING_MS = 1_000;

export interface PoolDriverOptions {
  readonly clock: Clock;
  /** Where to listen, when not with the pool's own settings. */
  readonly listenUrl: string | undefined;
}

/** What `pg` lets a pool have when nothing else is said. */
const USUAL_POOL_SIZE = 10;

/** How many stores are open on each pool of users', and what takes their listeners off it. */
const users = new WeakMap<PostgresPool, { stores: number; readonly unshield: () => void }>();
const ignore = (): void => {};

/**
 * Keeps errors of a pool's connections from ending the process, which an `error` event without a listener does: of those that
 * are idle, and of those that are being given out. A connection that breaks while it is handed over has no listener of the
 * pool's any more, and none yet of whoever asked for it.
 * @returns what takes the listeners off again.
 */
function shield(pool: PostgresPool): () => void {
  const out = new Set<PostgresPoolClient>();
  const onAcquire = (client: PostgresPoolClient): void => {
    out.add(client);
    client.on("error", ignore);
  };
  const onRelease = (_error: unknown, client: PostgresPoolClient): void => {
    if (out.delete(client)) client.removeListener("error", ignore);
  };
  const emitter = pool as unknown as EventEmitter;
  emitter.on("error", ignore).on("acquire", onAcquire).on("release", onRelease);
  return () => {
    emitter.off("error", ignore).off("acquire", onAcquire).off("release", onRelease);
    for (const client of out) client.removeListener("error", ignore);
  };
}

/** The driver for a pool of the user's, which is never ended. */
export function userPool(pool: PostgresPool, options: PoolDriverOptions): PostgresDriver {
  const use = users.get(pool) ?? { stores: 0, unshield: shield(pool) };
  users.set(pool, use);
  use.stores += 1;
  return poolDriver({
    ...options,
    open: async () => pool,
    close: async () => {
      use.stores -= 1;
      if (use.stores > 0) return;
      users.delete(pool);
      use.unshield();
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
      shield(pool);
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
  let size = USUAL_POOL_SIZE;
  const desk = new PostgresDesk<PostgresPoolClient>({
    clock,
    async request() {
      const pool = await open();
      size = (pool.options as { max?: number } | undefined)?.max ?? USUAL_POOL_SIZE;
      if (pool.ending === true) throw poolClosedError();
      return pool.connect();
    },
    giveBack: (client) => client.release(),
    most: () => size,
  });
  const listeners = new PostgresListeners(clock, open, listenUrl);
  const begun = new Set<Promise<unknown>>();
  const begin = <T>(client: PostgresPoolClient, deadline: number, work: () => Promise<T>): Promise<T> => {
    const done = holding(client, clock, deadline, work);
    begun.add(done);
    const forget = (): void => void begun.delete(done);
    done.then(forget, forget);
    return done;
  };

  return {
    async run(compose, deadline) {
      const client = await desk.take(deadline);
      let statement: ReturnType<typeof compose>;
      try {
        statement = compose();
      } finally {
        if (statement === undefined) client.release();
      }
      if (statement === undefined) return [];
      const { text, values, deadline: latest } = statement;
      return begin(client, latest, () => query(client, text, values));
    },

    async transaction(deadline, work) {
      const client = await desk.take(deadline);
      const session = {
        query: (text: string, values: readonly string[] = []) => query(client, text, values),
        script: async (text: string) => void (await client.query({ text })),
      };
      return begin(client, deadline, async () => {
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

    listen: (channel, onNotification, onLost) => listeners.listen(channel, onNotification, onLost),

    async close() {
      desk.close();
      listeners.close();
      await Promise.allSettled(begun);
      await close();
    },
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
