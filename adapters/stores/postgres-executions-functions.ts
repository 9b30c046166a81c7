import { BRIEFLY } from "./postgres-lock-waits.ts";
import type { PostgresNames } from "./postgres-names.ts";

/** Tells this layout of a row from those of versions to come. */
export const FORMAT = 1;
/** The largest number that JavaScript keeps exactly: later moments never come. */
export const MAX = Number.MAX_SAFE_INTEGER;

/** Whether a row is one that this version wrote. */
export function isSound(row: string): string {
  const whole = (column: string, from: 0 | 1): string => `${row}.${column} BETWEEN ${from} AND ${MAX}`;
  return `((
    ${row}.format = ${FORMAT} AND ${row}.operation IS NOT NULL AND ${row}.scope IS NOT NULL AND ${row}.nonce IS NOT NULL
    AND ${whole("attempt", 1)} AND ${whole("token", 1)} AND ${whole("created_at", 0)}
    AND ${whole("retention_ms", 1)} AND ${whole("expires_at", 0)}
    AND CASE ${row}.status
      WHEN 'running' THEN ${whole("lease_expires_at", 0)} AND ${row}.retry_granted IS NOT NULL
        AND (${row}.abandoned_at IS NULL OR ${whole("abandoned_at", 0)})
      WHEN 'completed' THEN ${whole("completed_at", 0)} AND ${row}.outcome IS NOT NULL
        AND ${row}.outcome_kind IN ('value', 'error', 'tombstone')
      ELSE false END
    ) IS TRUE)`;
}

/** A function that decides about the one record whose id is `p_id`. */
export interface EngineFunction {
  readonly name: string;
  readonly parameters: string;
  readonly variables?: string;
  /** In whose transaction it runs: settings of the user's stay as they are. Defaults to `"own"`. */
  readonly transaction?: "own" | "user";
  readonly body: string;
}

/** Parameters are p_…, variables v_…, and `r` is the record, so that none of them is taken for a column. */
export function engineFunction(
  names: PostgresNames,
  { name, parameters, variables = "", transaction = "own", body }: EngineFunction,
): string {
  return `
    CREATE FUNCTION ${names.of(name)}(${parameters}) RETURNS json LANGUAGE plpgsql VOLATILE AS $evenkeel$
    DECLARE
      r record;
      v_now bigint;
      v_locked boolean := false;
      ${variables}
    BEGIN
      ${transaction === "own" ? BRIEFLY : ""}
      ${body}
    END $evenkeel$;`;
}

/** Answers as a caller without a record gets it. */
export const status = (word: string): string => `RETURN json_build_object('status', '${word}');`;

/** A moment that stays within the numbers that JavaScript keeps exactly. */
export const after = (moment: string, duration: string): string => `LEAST(${moment} + ${duration}, ${MAX})`;

/** Sets `r` and FOUND: at first from a look without a lock, the second time from the locked row. */
export function look(names: PostgresNames): string {
  const executions = names.of("executions");
  return `
      v_now := ${names.of("now")}();
      IF v_locked THEN
        SELECT * INTO r FROM ${executions} e WHERE e.id = p_id FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
          IF EXISTS (SELECT FROM ${executions} e WHERE e.id = p_id) THEN ${status("busy")} END IF;
          v_locked := false;
          CONTINUE;
        END IF;
      ELSE
        SELECT * INTO r FROM ${executions} e WHERE e.id = p_id;
      END IF;`;
}

/** What goes before a write: from here on the row is ours. */
export const LOCK = `
      IF NOT v_locked THEN
        v_locked := true;
        CONTINUE;
      END IF;`;

/** An acknowledged write has to survive a crash, whatever the session's default is. For this transaction only. */
export const DURABLY = `
      IF current_setting('synchronous_commit') = 'off' THEN PERFORM set_config('synchronous_commit', 'on', true); END IF;`;

/** A record that vanishes and comes back between looks does so only this often; then the store asks again. */
export const LOOKS = "FOR v_look IN 1..8 LOOP";
export const MISSING = "IF NOT FOUND THEN RETURN json_build_object('status', 'missing'); END IF;";
export const CORRUPT = `IF NOT ${isSound("r")} THEN RETURN json_build_object('status', 'corrupt'); END IF;`;
export const EXPIRED = "IF r.expires_at <= v_now THEN RETURN json_build_object('status', 'missing'); END IF;";
export const HOLDS = "(r.token = p_token AND r.nonce = p_nonce)";

export const forgetSteps = (names: PostgresNames): string => `DELETE FROM ${names.of("steps")} s WHERE s.id = p_id;`;

/** The answer about a completed record. `word` is an expression. */
export const committed = (word: string): string => `json_build_object('status', ${word}, 'fingerprint', r.fingerprint,
          'kind', r.outcome_kind, 'bytes', encode(r.outcome, 'hex'), 'attempt', r.attempt,
          'completedAt', r.completed_at, 'expiresInMs', r.expires_at - v_now)`;
