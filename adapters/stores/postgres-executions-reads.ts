import { CORRUPT, EXPIRED, engineFunction, MAX, MISSING } from "./postgres-executions-functions.ts";
import type { PostgresNames } from "./postgres-names.ts";

/** The record as a reader sees it, see `viewOf`. */
export function viewOf(row: string, now: string): string {
  return `json_build_object('id', ${row}.id, 'operation', ${row}.operation, 'scope', ${row}.scope, 'key', ${row}.key,
    'fingerprint', ${row}.fingerprint, 'attempt', ${row}.attempt, 'token', ${row}.token, 'createdAt', ${row}.created_at,
    'retentionMs', ${row}.retention_ms, 'expiresInMs', ${row}.expires_at - ${now},
    'status', CASE WHEN ${row}.status = 'completed' THEN 'completed'
      WHEN ${row}.lease_expires_at > ${now} THEN 'running' ELSE 'abandoned' END,
    'leaseRemainingMs', ${row}.lease_expires_at - ${now}, 'leaseExpiredAt', ${row}.lease_expires_at,
    'retryGranted', ${row}.retry_granted, 'completedAt', ${row}.completed_at,
    'kind', ${row}.outcome_kind, 'bytes', encode(${row}.outcome, 'hex'))`;
}

/** The record for people to look at, which takes no lock and writes nothing. */
export function getFunction(names: PostgresNames): string {
  return engineFunction(names, {
    name: "get",
    parameters: "p_id text",
    body: `
      v_now := ${names.of("now")}();
      SELECT * INTO r FROM ${names.of("executions")} e WHERE e.id = p_id;
      ${MISSING}
      ${CORRUPT}
      ${EXPIRED}
      RETURN ${viewOf("r", "v_now")};`,
  });
}

/** The remembered steps; NULL when one of them can't be understood. */
export function stepsFunction(names: PostgresNames): string {
  return `
    CREATE FUNCTION ${names.of("steps_of")}(p_id text) RETURNS json LANGUAGE sql STABLE AS $evenkeel$
      SELECT CASE
        WHEN count(*) = 0 THEN '[]'::json
        WHEN bool_and((s.position BETWEEN 0 AND ${MAX} AND s.name IS NOT NULL AND s.outcome IS NOT NULL
          AND s.outcome_kind IN ('value', 'error', 'tombstone')) IS TRUE)
        THEN json_agg(json_build_object('position', s.position, 'name', s.name, 'kind', s.outcome_kind,
          'bytes', encode(s.outcome, 'hex')) ORDER BY s.position)
        END
      FROM ${names.of("steps")} s WHERE s.id = p_id
    $evenkeel$;`;
}
