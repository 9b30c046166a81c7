import type { PostgresNames } from "./postgres-names.ts";
import { fencesTable } from "./postgres-resources-fences.ts";
import { silentSince } from "./postgres-resources-functions.ts";
import { heartbeatFunction } from "./postgres-resources-heartbeats.ts";
import { readingFunctions } from "./postgres-resources-reads.ts";
import { writingFunctions } from "./postgres-resources-writes.ts";

/**
 * The resources of a ledger: their tables, and the decisions of `resource-writes.ts` and its neighbours as functions. One call of a function is
 * one statement, one transaction and one round trip.
 *
 * - **One writer of a group at a time.** Whoever applies, desires or purges locks the group's row first, and holds it until the
 *   transaction has ended. So a group's sequence numbers are given out in the order in which they are committed: the next one is
 *   taken only by somebody who got the lock, and PostgreSQL shows a commit to everybody before it lets go of its locks. A reader who
 *   sees a number sees all below it, and `changed_since` misses none; a number whose transaction is rolled back is given out again.
 * - **Heartbeats leave the group alone**, so that a thousand workers don't stand in line behind their reconciler. They lock the rows
 *   that they stamp, and those who write to a group lock the rows that they are about to decide on before they look at them: whoever
 *   comes second sees what the first one did.
 * - **No circles.** The group comes before its rows, and rows are locked by id and incarnation, by everybody. A heartbeat waits for
 *   rows alone, and who waits for a group holds nothing yet.
 * - **Time** is asked for once the locks are there, so that nobody who waited lives in the past.
 *
 * Where the session's transactions are REPEATABLE READ or SERIALIZABLE, a wait ends with 40001 instead, and the store begins anew.
 */
export function resourcesSchema(names: PostgresNames): string {
  return [
    tables(names),
    fencesTable(names),
    writingFunctions(names),
    heartbeatFunction(names),
    readingFunctions(names),
  ].join("\n");
}

/** No constraints beside the primary keys: what a row may hold is judged where it is read, and told as RECORD_CORRUPT. */
function tables(names: PostgresNames): string {
  const resources = names.of("resources");
  return `
    CREATE TABLE ${names.of("groups")} (
      name text COLLATE "C" PRIMARY KEY,
      format integer,
      mark text COLLATE "C",
      epoch bigint,
      generation bigint,
      desired text COLLATE "C",
      desired_nonce text COLLATE "C",
      status text COLLATE "C",
      sequence bigint,
      floor bigint
    ) WITH (fillfactor = 50);
    CREATE TABLE ${resources} (
      group_name text COLLATE "C",
      id text COLLATE "C",
      incarnation bigint,
      format integer,
      state text COLLATE "C",
      spec text COLLATE "C",
      external_id text COLLATE "C",
      generation bigint,
      reason text COLLATE "C",
      attempt bigint,
      fencing_token bigint,
      created_at bigint,
      state_changed_at bigint,
      provisioned_at bigint,
      last_heartbeat_at bigint,
      lease_expires_at bigint,
      version bigint,
      nonce text COLLATE "C",
      sequence bigint,
      PRIMARY KEY (group_name, id, incarnation)
    ) WITH (fillfactor = 80);
    CREATE INDEX ${names.bare("resources_changed")} ON ${resources} (group_name, sequence);
    CREATE INDEX ${names.bare("resources_silent")} ON ${resources} (group_name, (${silentSince()}))
      WHERE state = 'PROVISIONED';
    CREATE INDEX ${names.bare("resources_ended")} ON ${resources} (group_name, state_changed_at)
      WHERE state = 'TERMINATED';`;
}
