import { PGlite } from "@electric-sql/pglite";
import type pg from "pg";
import type { ConformanceSubject } from "../../src/testing/index.ts";
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

/** Whatever tables and sequences there are, as they were made. What the functions are does not depend on the rows. */
function emptying(prefix: string): string {
  return `DO $$
    DECLARE
      v_name text;
    BEGIN
      FOR v_name IN SELECT c.relname FROM pg_catalog.pg_class c WHERE c.relkind = 'r' AND starts_with(c.relname, '${prefix}')
        AND c.relname <> '${prefix}schema' LOOP
        EXECUTE format('DELETE FROM %I', v_name);
      END LOOP;
      FOR v_name IN SELECT c.relname FROM pg_catalog.pg_class c WHERE c.relkind = 'S' AND starts_with(c.relname, '${prefix}') LOOP
        PERFORM setval(quote_ident(v_name), 1, false);
      END LOOP;
    END $$`;
}
