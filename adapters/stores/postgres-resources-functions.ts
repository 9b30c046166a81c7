import { BRIEFLY } from "./postgres-lock-waits.ts";
import type { PostgresNames } from "./postgres-names.ts";

/** Tells this layout of a row from those of versions to come. */
export const RESOURCE_FORMAT = 1;
/** The largest number that JavaScript keeps exactly: later moments never come. */
export const MAX = Number.MAX_SAFE_INTEGER;
/** By which a batch is given up. It never leaves the function that raises it. */
export const CORRUPT_RECORD = "EK003";

/** The last sign of life, see `silentSince`. Written alike everywhere, so that the index serves. */
export function silentSince(row?: string): string {
  const of = row === undefined ? "" : `${row}.`;
  return `COALESCE(${of}last_heartbeat_at, ${of}provisioned_at, ${of}created_at)`;
}

/** Whether a row is one that this version wrote. */
export function isSoundResource(row: string): string {
  const whole = (column: string, from: 0 | 1): string => `${row}.${column} BETWEEN ${from} AND ${MAX}`;
  const wholeOrNone = (column: string): string => `(${row}.${column} IS NULL OR ${whole(column, 0)})`;
  return `((
    ${row}.format = ${RESOURCE_FORMAT} AND ${row}.nonce IS NOT NULL AND ${whole("incarnation", 1)}
    AND ${whole("generation", 0)} AND ${whole("attempt", 0)} AND ${whole("fencing_token", 0)}
    AND ${whole("created_at", 0)} AND ${whole("state_changed_at", 0)} AND ${whole("version", 1)} AND ${whole("sequence", 1)}
    AND ${wholeOrNone("provisioned_at")} AND ${wholeOrNone("last_heartbeat_at")} AND ${wholeOrNone("lease_expires_at")}
    AND CASE ${row}.state WHEN 'PROVISIONED' THEN ${row}.provisioned_at IS NOT NULL
      ELSE ${row}.state IN ('PENDING', 'FAILED', 'TERMINATING', 'TERMINATED') END
    ) IS TRUE)`;
}

/** Whether a group is one that this version wrote. A cursor is its mark, a colon and a number. */
export function isSoundGroup(row: string): string {
  const whole = (column: string): string => `${row}.${column} BETWEEN 0 AND ${MAX}`;
  return `((
    ${row}.format = ${RESOURCE_FORMAT} AND ${row}.mark <> '' AND strpos(${row}.mark, ':') = 0
    AND ${whole("epoch")} AND ${whole("generation")} AND ${whole("sequence")} AND ${whole("floor")}
    ) IS TRUE)`;
}

export interface ResourceFunction {
  readonly name: string;
  readonly parameters: string;
  readonly kind: "reads" | "writes";
  readonly variables?: string;
  readonly body: string;
}

/**
 * A function that answers with one JSON text a row, of which the last is the verdict. Those that read are STABLE: all that they
 * look at is of one moment. Parameters are p_…, variables v_…, `g` is the group and `r` a resource.
 */
export function resourceFunction(names: PostgresNames, fn: ResourceFunction): string {
  const { name, parameters, kind, variables = "", body } = fn;
  return `
    CREATE FUNCTION ${names.of(name)}(${parameters}) RETURNS SETOF json LANGUAGE plpgsql
    ${kind === "reads" ? "STABLE" : "VOLATILE"} AS $evenkeel$
    DECLARE
      g record;
      r record;
      v_now bigint;
      ${variables}
    BEGIN
      ${kind === "reads" ? BRIEFLY : BOUNDED}
      ${body}
    END $evenkeel$;`;
}

/** Answers with a verdict alone. */
export function verdict(word: string): string {
  return `RETURN NEXT json_build_object('status', '${word}'); RETURN;`;
}

/**
 * Whoever gives up waiting leaves no statement behind that goes on waiting for a lock, holding a connection of the server's. For
 * this transaction only, and not where the user has set a bound.
 */
const BOUNDED = `
      IF current_setting('lock_timeout') = '0' THEN PERFORM set_config('lock_timeout', p_timeout_ms::text, true); END IF;`;
