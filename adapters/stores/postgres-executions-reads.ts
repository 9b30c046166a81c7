import { CORRUPT, EXPIRED, engineFunction, isSound, MAX, MISSING } from "./postgres-executions-functions.ts";
import { BRIEFLY } from "./postgres-lock-waits.ts";
import type { PostgresNames } from "./postgres-names.ts";

/** The record as a reader sees it, see `viewOf` of `execution-record.ts`. */
function viewOf(row: string, now: string): string {
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

/** A statement of its own for each status, so that the index of running records serves those who look for abandoned ones. */
const HAS_STATUS = {
  running: "AND e.status = 'running' AND e.lease_expires_at > v_now",
  abandoned: "AND e.status = 'running' AND e.lease_expires_at <= v_now",
  completed: "AND e.status = 'completed'",
} as const;

/** One broken row must not hide all others: `get` says of it that it is corrupt. */
export function listFunction(names: PostgresNames): string {
  const listed = (condition: string): string => `RETURN QUERY SELECT ${viewOf("e", "v_now")}
        FROM ${names.of("executions")} e
        WHERE e.id > p_after AND e.expires_at > v_now AND ${isSound("e")}
          AND (p_operation IS NULL OR e.operation = p_operation) ${condition}
        ORDER BY e.id LIMIT p_limit;`;
  const branches = Object.entries(HAS_STATUS).map(
    ([status, condition]) => `IF p_status = '${status}' THEN ${listed(condition)}`,
  );
  return `
    CREATE FUNCTION ${names.of("list_executions")}(p_operation text, p_status text, p_after text, p_limit bigint)
    RETURNS SETOF json LANGUAGE plpgsql VOLATILE AS $evenkeel$
    DECLARE
      v_now bigint := ${names.of("now")}();
    BEGIN
      ${BRIEFLY}
      ${branches.join("\n      ELS")}
      ELSE ${listed("")}
      END IF;
    END $evenkeel$;`;
}

/** The records that were created last, along their index. */
export function recentFunction(names: PostgresNames): string {
  return `
    CREATE FUNCTION ${names.of("recent_executions")}(p_operation text, p_limit bigint)
    RETURNS SETOF json LANGUAGE plpgsql VOLATILE AS $evenkeel$
    DECLARE
      v_now bigint := ${names.of("now")}();
    BEGIN
      ${BRIEFLY}
      RETURN QUERY SELECT ${viewOf("e", "v_now")} FROM ${names.of("executions")} e
        WHERE e.expires_at > v_now AND ${isSound("e")} AND (p_operation IS NULL OR e.operation = p_operation)
        ORDER BY e.created_at DESC, e.id LIMIT p_limit;
    END $evenkeel$;`;
}

/** How large the outcomes of an execution are, which the server knows without reading them. */
export function outcomeBytesFunction(names: PostgresNames): string {
  return `
    CREATE FUNCTION ${names.of("outcome_bytes")}(p_ids text[]) RETURNS bigint[] LANGUAGE plpgsql VOLATILE AS $evenkeel$
    DECLARE
      v_now bigint := ${names.of("now")}();
    BEGIN
      ${BRIEFLY}
      RETURN (SELECT array_agg(CASE
          WHEN e.status = 'running' AND e.lease_expires_at <= v_now
          THEN COALESCE((SELECT sum(octet_length(s.outcome)) FROM ${names.of("steps")} s WHERE s.id = e.id), 0)
          ELSE COALESCE(octet_length(e.outcome), 0) END ORDER BY u.n)
        FROM unnest(p_ids) WITH ORDINALITY u(id, n) LEFT JOIN ${names.of("executions")} e ON e.id = u.id);
    END $evenkeel$;`;
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
