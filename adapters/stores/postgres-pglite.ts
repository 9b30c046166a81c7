import type { Clock } from "../../src/clock.ts";
import { PostgresDesk } from "./postgres-desk.ts";
import type {
  PGliteDatabase,
  PGliteTransaction,
  PostgresDriver,
  PostgresRow,
  PostgresSession,
} from "./postgres-driver.ts";

/** Text's object id in pg_type.dat: the only type in our answers. */
const TEXT = 25;
/** Leaves texts as they come, whatever parsers the user has set. */
export const RAW_TEXTS = { parsers: { [TEXT]: (value: string) => value } };

/** A transaction that PGlite has begun. */
interface Turn {
  readonly tx: PGliteTransaction;
  commit(): Promise<void>;
  rollback(reason: unknown): Promise<void>;
}

/**
 * The driver for a PGlite database, which is never closed. It has one connection, and what waits for it inside of PGlite
 * can't be called off. A transaction's function begins once the connection is free: a statement is composed there, so that
 * nothing begins for which nobody waits any more.
 */
export function pgliteDriver(db: PGliteDatabase, { clock }: { readonly clock: Clock }): PostgresDriver {
  const begun = new Set<Promise<unknown>>();
  const desk = new PostgresDesk<Turn>({
    clock,
    request: () => nextTurn(db),
    giveBack: ({ commit }) => void commit().catch(() => {}),
    most: () => 1,
  });
  const inTransaction = async <T>(deadline: number, work: (tx: PGliteTransaction) => Promise<T>): Promise<T> => {
    const turn = await desk.take(deadline);
    const done = take(turn, work);
    begun.add(done);
    try {
      return await done;
    } finally {
      begun.delete(done);
    }
  };

  return {
    run: (compose, deadline) =>
      inTransaction(deadline, async (tx) => {
        const statement = compose();
        if (statement === undefined) return [];
        const { rows } = await tx.query(statement.text, [...statement.values], RAW_TEXTS);
        return rows as PostgresRow[];
      }),

    transaction: (deadline, work) => inTransaction(deadline, (tx) => work(sessionOf(tx))),

    async listen(channel, onNotification) {
      const end = await db.listen(channel, onNotification);
      return () => void end().catch(() => {});
    },

    close: async () => {
      desk.close();
      await Promise.allSettled(begun);
    },
  };
}

function nextTurn(db: PGliteDatabase): Promise<Turn> {
  return new Promise<Turn>((resolve, reject) => {
    const ended = db.transaction(
      (tx) =>
        new Promise<void>((succeed, fail) => {
          resolve({
            tx,
            commit: async () => {
              succeed();
              await ended;
            },
            rollback: async (reason) => {
              fail(reason);
              await ended.catch(() => {});
            },
          });
        }),
    );
    ended.catch(reject);
  });
}

async function take<T>({ tx, commit, rollback }: Turn, work: (tx: PGliteTransaction) => Promise<T>): Promise<T> {
  let result: T;
  try {
    result = await work(tx);
  } catch (error) {
    await rollback(error);
    throw error;
  }
  await commit();
  return result;
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
