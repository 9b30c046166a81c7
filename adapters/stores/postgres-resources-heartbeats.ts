import type { PostgresNames } from "./postgres-names.ts";
import { isSoundGroup, isSoundResource, resourceFunction, verdict } from "./postgres-resources-functions.ts";

/**
 * See `decideBeats`: one statement for the whole batch, since no beat changes what another one is answered. What it looks at is
 * locked before, so that it stays until the stamp. Only a row that is made in between is not: should somebody write to it too before
 * its stamp, the stamp looks at it again, and a circle that way is broken by PostgreSQL and begun anew by the store.
 *
 * Unlike other writes a beat is as durable as the session's transactions are: what a crash takes along comes again.
 */
export function heartbeatFunction(names: PostgresNames): string {
  const resources = names.of("resources");
  const isLive = "('PENDING', 'PROVISIONED', 'TERMINATING')";
  return resourceFunction(names, {
    name: "heartbeat",
    kind: "writes",
    parameters: "p_group text, p_beats json, p_timeout_ms bigint",
    variables: "v_answers json; v_corrupt boolean;",
    body: `
      PERFORM FROM ${resources} e WHERE e.group_name = p_group
        AND e.id IN (SELECT b.id FROM json_to_recordset(p_beats) AS b(id text))
        ORDER BY e.id, e.incarnation FOR UPDATE;
      v_now := ${names.of("now")}();
      WITH d AS MATERIALIZED (
        SELECT b.n, b.id, COALESCE(b.incarnation, newest.incarnation) AS incarnation,
          CASE
            WHEN known.state IN ('PENDING', 'PROVISIONED') THEN 'accepted'
            WHEN known.state = 'TERMINATING' AND known.incarnation = newest.incarnation THEN 'accepted'
            WHEN known.id IS NOT NULL THEN 'superseded'
            -- At or below the floor nothing is ever made again: whoever beats from there was purged.
            WHEN b.incarnation < newest.incarnation OR b.incarnation <= o.floor THEN 'superseded'
            ELSE 'missing'
          END AS status,
          (newest.id IS NOT NULL AND NOT ${isSoundResource("newest")})
            OR (known.id IS NOT NULL AND NOT ${isSoundResource("known")})
            OR (o.name IS NOT NULL AND NOT ${isSoundGroup("o")}) AS corrupt
        FROM ROWS FROM (json_to_recordset(p_beats) AS (id text, incarnation bigint)) WITH ORDINALITY AS b(id, incarnation, n)
          LEFT JOIN LATERAL (SELECT e.* FROM ${resources} e WHERE e.group_name = p_group AND e.id = b.id
            ORDER BY e.incarnation DESC LIMIT 1) newest ON true
          LEFT JOIN ${resources} known ON known.group_name = p_group AND known.id = b.id
            AND known.incarnation = COALESCE(b.incarnation, newest.incarnation)
          LEFT JOIN ${names.of("groups")} o ON o.name = p_group
      ), stamped AS (
        UPDATE ${resources} e SET last_heartbeat_at = v_now
          FROM (SELECT DISTINCT d.id, d.incarnation FROM d WHERE d.status = 'accepted') a
          WHERE e.group_name = p_group AND e.id = a.id AND e.incarnation = a.incarnation
            AND e.state IN ${isLive} AND NOT (SELECT bool_or(d.corrupt) FROM d)
          RETURNING e.id, e.incarnation
      )
      SELECT bool_or(d.corrupt), json_agg(
          CASE WHEN d.status = 'accepted' AND s.id IS NULL THEN 'superseded' ELSE d.status END ORDER BY d.n)
        INTO v_corrupt, v_answers
        FROM d LEFT JOIN stamped s ON s.id = d.id AND s.incarnation = d.incarnation;
      IF v_corrupt THEN ${verdict("corrupt")} END IF;
      RETURN NEXT json_build_object('status', 'decided', 'answers', COALESCE(v_answers, '[]'));`,
  });
}
