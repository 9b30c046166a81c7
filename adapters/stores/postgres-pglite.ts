import type {
  PGliteDatabase,
  PGliteTransaction,
  PostgresDriver,
  PostgresRow,
  PostgresSession,
} from "./postgres-driver.ts";

/** Text's object id in pg_type.dat: the only type in our answers. */
const TEXT = 25;
const RAW_TEXTS = { parsers: { [TEXT]: (value: string) => value } };

/**
 * The driver for a PGlite database, which is never closed. It has one connection, and what waits for it inside of PGlite
 * can't be called off. A transaction's function begins once the connection is free: a statement is composed there, so that
 * nothing begins for which nobody waits any more.
 */
export function pgliteDriver(db: PGliteDatabase): PostgresDriver {
  let last: Promise<unknown> = Promise.resolve();
  const inTransaction = <T>(work: (tx: PGliteTransaction) => Promise<T>): Promise<T> => {
    const done = db.transaction(work) as Promise<T>;
    last = done.catch(() => {});
    return done;
  };

  return {
    run: (compose) =>
      inTransaction(async (tx) => {
        const statement = compose();
        if (statement === undefined) return [];
        const { rows } = await tx.query(statement.text, [...statement.values], RAW_TEXTS);
        return rows as PostgresRow[];
      }),

    transaction: (_deadline, work) => inTransaction((tx) => work(sessionOf(tx))),

    async listen(channel, onNotification) {
      const end = await db.listen(channel, onNotification);
      return () => void end().catch(() => {});
    },

    close: async () => {
      await last;
    },
  };
}

function sessionOf(tx: PGliteTransaction): PostgresSession {
  return {
    async query(text, values = []) {
      const { rows } = await tx.query(text, [...values], RAW_TEXTS);
      return rows as PostgresRow[];
    },
    script: async (text) => void (await tx.exec(text)),
  };
}
