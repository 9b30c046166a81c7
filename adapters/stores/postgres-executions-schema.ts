import { claimFunction } from "./postgres-executions-claims.ts";
import { isSound } from "./postgres-executions-functions.ts";
import { recordStepFunction, renewFunction } from "./postgres-executions-holding.ts";
import {
  getFunction,
  listFunction,
  outcomeBytesFunction,
  recentFunction,
  stepsFunction,
} from "./postgres-executions-reads.ts";
import { seizeFunction } from "./postgres-executions-seizing.ts";
import { completeFunction, completeWithinFunction, releaseFunction } from "./postgres-executions-settling.ts";
import { BRIEFLY } from "./postgres-lock-waits.ts";
import type { PostgresNames } from "./postgres-names.ts";

/**
 * The executions of a ledger: their tables, and the decisions of `execution-record.ts` as functions. One call of a function
 * is one statement, one transaction and one round trip.
 *
 * - **Look, then lock.** A function looks at the record without a lock. An answer that writes nothing is given from that
 *   look. To write it locks the row and decides again: nothing rests on what was read before.
 * - **Nobody waits for a transaction of the user's.** The lock is taken with SKIP LOCKED: a record that somebody else is
 *   writing is `busy`, and the store asks again. `complete_within` alone may wait, since it belongs to the user.
 * - **Nobody waits for long.** What is waited for are locks on a whole table, and somebody's insertion of the same record. After a
 *   moment the statement fails with 55P03, and the store asks again, for fewer records at once.
 * - **Tokens.** `nextval` is taken by whoever has the row, never before: among all transactions only one at a time holds
 *   the row, or its place in the primary key, so that along a record's grants the numbers rise. Where the record is new the
 *   number comes with the insertion, possibly before it had to wait for the place; if then the sequence has moved on,
 *   somebody may have been granted a higher one in between (and have deleted the record again), so a new one is taken. A record
 *   that is there has its own number to exceed, see `next_token`.
 */
export function executionsSchema(names: PostgresNames): string {
  return [
    tables(names),
    stepsFunction(names),
    purgeFunction(names),
    countExpiredFunction(names),
    claimFunction(names),
    renewFunction(names),
    completeFunction(names),
    completeWithinFunction(names),
    releaseFunction(names),
    recordStepFunction(names),
    seizeFunction(names),
    getFunction(names),
    listFunction(names),
    recentFunction(names),
    outcomeBytesFunction(names),
  ].join("\n");
}

/** No constraints beside the primary keys: what a row may hold is judged where it is read, and told as RECORD_CORRUPT. */
function tables(names: PostgresNames): string {
  return `
    CREATE TABLE ${names.of("executions")} (
      id text COLLATE "C" PRIMARY KEY,
      format integer,
      operation text COLLATE "C",
      scope text COLLATE "C",
      key text COLLATE "C",
      fingerprint text COLLATE "C",
      attempt bigint,
      token bigint,
      nonce text COLLATE "C",
      created_at bigint,
      retention_ms bigint,
      expires_at bigint,
      status text COLLATE "C",
      lease_expires_at bigint,
      retry_granted boolean,
      abandoned_at bigint,
      completed_at bigint,
      outcome_kind text COLLATE "C",
      outcome bytea
    ) WITH (fillfactor = 80);
    CREATE INDEX ${names.bare("executions_expiry")} ON ${names.of("executions")} (expires_at);
    CREATE INDEX ${names.bare("executions_created")} ON ${names.of("executions")} (created_at);
    CREATE INDEX ${names.bare("executions_running")} ON ${names.of("executions")} (id) WHERE status = 'running';
    CREATE TABLE ${names.of("steps")} (
      id text COLLATE "C",
      position bigint,
      name text COLLATE "C",
      outcome_kind text COLLATE "C",
      outcome bytea,
      PRIMARY KEY (id, position)
    );`;
}

/** How many records {@link purgeFunction} would delete, those included that somebody is writing. */
function countExpiredFunction(names: PostgresNames): string {
  return `
    CREATE FUNCTION ${names.of("count_expired")}() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $evenkeel$
    DECLARE
      v_now bigint := ${names.of("now")}();
    BEGIN
      ${BRIEFLY}
      RETURN (SELECT count(*) FROM ${names.of("executions")} e WHERE e.expires_at <= v_now AND ${isSound("e")});
    END $evenkeel$;`;
}

/** Deletes expired records, and passes over those that somebody is writing. */
function purgeFunction(names: PostgresNames): string {
  return `
    CREATE FUNCTION ${names.of("purge")}(p_limit bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $evenkeel$
    DECLARE
      v_now bigint := ${names.of("now")}();
      v_ids text[];
    BEGIN
      ${BRIEFLY}
      SELECT array_agg(d.id) INTO v_ids FROM (
        SELECT e.id FROM ${names.of("executions")} e WHERE e.expires_at <= v_now AND ${isSound("e")}
        ORDER BY e.expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED
      ) d;
      IF v_ids IS NULL THEN RETURN 0; END IF;
      DELETE FROM ${names.of("steps")} s WHERE s.id = ANY(v_ids);
      DELETE FROM ${names.of("executions")} e WHERE e.id = ANY(v_ids);
      RETURN cardinality(v_ids);
    END $evenkeel$;`;
}
