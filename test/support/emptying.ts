/**
 * The statement that empties the ledger of a prefix: whatever tables and sequences there are, as they were made. What the
 * functions are does not depend on the rows.
 */
export function emptying(prefix: string): string {
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
