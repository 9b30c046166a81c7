/**
 * How long a statement of ours waits for a lock before it gives up, and the store asks again: what the store waits for are other
 * statements of its own. Also how long a caller who gave up leaves a statement behind that holds a connection of the server's.
 */
const LONGEST_LOCK_WAIT_MS = 200;

/**
 * What a function begins with: while somebody locks a whole table (VACUUM FULL, ALTER TABLE), statements must not pile up at the
 * server. For this transaction only, and not where the user has set a narrower bound.
 *
 * It counts for what the function does from here on. So no variable has a table's row type (`%ROWTYPE`): to compile it, which comes
 * first, PostgreSQL would wait for the table.
 */
export const BRIEFLY = `
      IF current_setting('lock_timeout')::interval NOT BETWEEN '1ms' AND '${LONGEST_LOCK_WAIT_MS}ms' THEN
        PERFORM set_config('lock_timeout', '${LONGEST_LOCK_WAIT_MS}', true);
      END IF;`;
