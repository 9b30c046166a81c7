import { PGlite } from "@electric-sql/pglite";
import type pg from "pg";
import type { ConformanceSubject } from "../../src/testing/index.ts";
import { emptying } from "./emptying.ts";
import { frozenLedger, newPrefix } from "./postgres-ledgers.ts";

/**
 * Ledgers as {@link frozenLedger} gives them, each emptied once its case is over and used again: to make one takes longer than
 * most cases do. One whose schema a case has damaged is left as it is, and another is made.
 */
export function emptiedLedgers(): (source: pg.Pool | PGlite) => Promise<ConformanceSubject> {
  const empty: string[] = [];
  return async (source) => {
    const tablePrefix = empty.pop() ?? newPrefix();
    const subject = await frozenLedger(source, { tablePrefix });
    const { corrupt, dispose } = subject;
    let isWhole = true;
    return {
      ...subject,
      ...(corrupt && {
        corrupt(record, damage) {
          if (record.part === "ledger") isWhole = false;
          return corrupt(record, damage);
        },
      }),
      async dispose() {
        await dispose();
        if (!isWhole) return;
        const statement = emptying(tablePrefix);
        await (source instanceof PGlite ? source.query(statement) : source.query(statement));
        empty.push(tablePrefix);
      },
    };
  };
}
