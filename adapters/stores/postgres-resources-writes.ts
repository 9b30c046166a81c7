import type { PostgresNames } from "./postgres-names.ts";
import { decideFences, FENCE_VARIABLES } from "./postgres-resources-fences.ts";
import {
  CORRUPT_RECORD,
  isSoundGroup,
  isSoundResource,
  MAX,
  RESOURCE_FORMAT,
  resourceFunction,
  silentSince,
  verdict,
} from "./postgres-resources-functions.ts";

/** What writes to a group, see `decideDesired`, `decideApply` and `isPurgeable`. */
export function writingFunctions(names: PostgresNames): string {
  return [setDesiredFunction(names), applyFunction(names), purgeFunction(names)].join("\n");
}

/** An acknowledged write has to survive a crash, whatever the session's default is. For this transaction only. */
const DURABLY = `
      IF current_setting('synchronous_commit') = 'off' THEN PERFORM set_config('synchronous_commit', 'on', true); END IF;`;

/** Sets `g` to the group, made where there was none, and ours until the end; returns where the epoch is not admitted. */
function admit(names: PostgresNames): string {
  return `
      ${DURABLY}
      LOOP
        SELECT * INTO g FROM ${names.of("groups")} e WHERE e.name = p_group FOR UPDATE;
        EXIT WHEN FOUND;
        -- The counter tells groups of one ledger apart; the time tells them from those of a ledger that began to count anew.
        INSERT INTO ${names.of("groups")} AS e (name, format, mark, epoch, generation, sequence, floor)
          VALUES (p_group, ${RESOURCE_FORMAT}, nextval(${names.literal("tokens")}) || '.' || ${names.of("now")}(), p_epoch, 0, 0, 0)
          ON CONFLICT (name) DO NOTHING RETURNING e.* INTO g;
        EXIT WHEN FOUND;
        -- Somebody else was first, and has committed: lock what is there.
      END LOOP;
      IF NOT ${isSoundGroup("g")} THEN ${verdict("corrupt")} END IF;
      IF p_epoch < g.epoch THEN
        RETURN NEXT json_build_object('status', 'fenced', 'epoch', g.epoch);
        RETURN;
      END IF;`;
}

function setDesiredFunction(names: PostgresNames): string {
  return resourceFunction(names, {
    name: "set_desired",
    kind: "writes",
    parameters:
      "p_group text, p_epoch bigint, p_nonce text, p_desired text, p_if_generation bigint, p_timeout_ms bigint",
    variables: "v_expected boolean; v_set boolean;",
    body: `${admit(names)}
      v_expected := p_if_generation IS NULL OR p_if_generation = g.generation;
      v_set := CASE WHEN v_expected THEN g.desired IS NOT DISTINCT FROM p_desired
        ELSE g.desired_nonce IS NOT DISTINCT FROM p_nonce END;
      IF v_expected AND NOT v_set THEN
        g.generation := g.generation + 1;
        UPDATE ${names.of("groups")} e SET desired = p_desired, desired_nonce = p_nonce, generation = g.generation,
          epoch = p_epoch WHERE e.name = p_group;
      ELSIF p_epoch > g.epoch THEN
        UPDATE ${names.of("groups")} e SET epoch = p_epoch WHERE e.name = p_group;
      END IF;
      RETURN NEXT json_build_object('status', CASE WHEN v_expected OR v_set THEN 'set' ELSE 'conflict' END,
        'generation', g.generation);`,
  });
}

/** The writes of a batch as a table, in their order. */
const WRITES = `ROWS FROM (json_to_recordset(p_writes) AS (kind text, id text, nonce text, state text, spec text,
        external_id text, generation bigint, reason text, attempt bigint, lease_ms bigint, grants boolean,
        fence text, after bigint, incarnation bigint, expected_version bigint, if_silent_for_ms bigint)) WITH ORDINALITY
        AS b(kind, id, nonce, state, spec, external_id, generation, reason, attempt, lease_ms, grants,
        fence, after, incarnation, expected_version, if_silent_for_ms, n)`;

/** What a write says itself, and the lease that it gives. What it leaves out is gone. */
const ASKED: Readonly<Record<string, string>> = {
  nonce: "w.nonce",
  state: "w.state",
  spec: "w.spec",
  external_id: "w.external_id",
  generation: "w.generation",
  reason: "w.reason",
  attempt: "w.attempt",
  // LEAST alone would make the end of time of no lease.
  lease_expires_at: `CASE WHEN w.lease_ms IS NOT NULL THEN LEAST(v_now + w.lease_ms, ${MAX}) END`,
  sequence: "g.sequence",
};

/**
 * A loop and not one statement, since each write sees what those before it left. Its statements are prepared once a session,
 * so that a write costs some tens of microseconds.
 *
 * The answers leave out the spec of an applied write: the store has it, also when the write was only known again.
 */
function applyFunction(names: PostgresNames): string {
  const resources = names.of("resources");
  const columns = Object.keys(ASKED).join(", ");
  const values = Object.values(ASKED).join(", ");
  const assignments = Object.entries(ASKED)
    .map(([column, value]) => `${column} = ${value}`)
    .join(", ");
  return resourceFunction(names, {
    name: "apply_resources",
    kind: "writes",
    parameters: "p_group text, p_epoch bigint, p_status text, p_fences json, p_writes json, p_timeout_ms bigint",
    variables: `w record; v_known boolean; v_token bigint; ${FENCE_VARIABLES}`,
    body: `${admit(names)}
      ${decideFences(names)}
      PERFORM FROM ${resources} e WHERE e.group_name = p_group AND (e.id, e.incarnation) IN
        (SELECT u.id, u.incarnation FROM json_to_recordset(p_writes) AS u(id text, incarnation bigint))
        ORDER BY e.id, e.incarnation FOR UPDATE;
      v_now := ${names.of("now")}();
      FOR w IN SELECT b.* FROM ${WRITES} ORDER BY b.n LOOP
        IF v_lower ? w.fence THEN
          RETURN NEXT json_build_object('fenced', v_lower -> w.fence);
          CONTINUE;
        END IF;
        IF w.kind = 'create' THEN
          SELECT * INTO r FROM ${resources} e WHERE e.group_name = p_group AND e.id = w.id
            ORDER BY e.incarnation DESC LIMIT 1;
        ELSE
          SELECT * INTO r FROM ${resources} e WHERE e.group_name = p_group AND e.id = w.id
            AND e.incarnation = w.incarnation;
        END IF;
        v_known := FOUND;
        IF v_known AND NOT ${isSoundResource("r")} THEN RAISE SQLSTATE '${CORRUPT_RECORD}'; END IF;
        IF v_known AND r.nonce = w.nonce
          AND r.version = (CASE w.kind WHEN 'create' THEN 1 ELSE w.expected_version + 1 END) THEN
          -- The same write again, whose first answer was lost, and nothing since.
          NULL;
        ELSIF (CASE w.kind WHEN 'create' THEN COALESCE(r.incarnation, 0) <> w.after
            ELSE NOT v_known OR r.version <> w.expected_version
              OR COALESCE(v_now - ${silentSince("r")} <= w.if_silent_for_ms, false) END) THEN
          RETURN NEXT json_build_object('applied', false, 'row', CASE WHEN v_known THEN row_to_json(r) END);
          CONTINUE;
        ELSE
          g.sequence := g.sequence + 1;
          v_token := CASE WHEN w.grants THEN ${names.of("next_token")}(COALESCE(r.fencing_token, 0))
            WHEN w.kind = 'create' THEN 0 ELSE r.fencing_token END;
          IF w.kind = 'create' THEN
            -- Above the floor also where older incarnations are kept: one between them and the floor may have been purged.
            INSERT INTO ${resources} AS e (group_name, id, incarnation, format, fencing_token, created_at,
              state_changed_at, provisioned_at, version, ${columns})
            VALUES (p_group, w.id, GREATEST(COALESCE(r.incarnation, 0), g.floor) + 1, ${RESOURCE_FORMAT}, v_token, v_now,
              v_now, CASE WHEN w.state = 'PROVISIONED' THEN v_now END, 1, ${values}) RETURNING e.* INTO r;
          ELSE
            UPDATE ${resources} AS e SET fencing_token = v_token, version = r.version + 1,
              state_changed_at = CASE WHEN w.state = r.state THEN r.state_changed_at ELSE v_now END,
              provisioned_at = COALESCE(r.provisioned_at, CASE WHEN w.state = 'PROVISIONED' THEN v_now END),
              ${assignments}
            WHERE e.group_name = p_group AND e.id = w.id AND e.incarnation = w.incarnation RETURNING e.* INTO r;
          END IF;
        END IF;
        r.spec := NULL;
        RETURN NEXT json_build_object('applied', true, 'row', row_to_json(r));
      END LOOP;
      UPDATE ${names.of("groups")} e SET epoch = p_epoch, status = COALESCE(p_status, e.status), sequence = g.sequence
        WHERE e.name = p_group
        AND (v_raised IS NOT NULL
          OR (e.epoch, e.status, e.sequence) IS DISTINCT FROM (p_epoch, COALESCE(p_status, e.status), g.sequence));
      RETURN NEXT json_build_object('status', 'decided', 'now', v_now, 'fences', v_fences);
    EXCEPTION WHEN SQLSTATE '${CORRUPT_RECORD}' THEN
      -- Nothing of the batch stays, and what was answered so far means nothing.
      ${verdict("corrupt")}`,
  });
}

/** Locks the rows before it deletes them, since DELETE locks them in an order of its own. */
function purgeFunction(names: PostgresNames): string {
  const resources = names.of("resources");
  return resourceFunction(names, {
    name: "purge_resources",
    kind: "writes",
    parameters: "p_group text, p_age_ms bigint, p_limit bigint, p_timeout_ms bigint",
    variables: "v_ids text[]; v_incarnations bigint[]; v_floor bigint;",
    body: `
      ${DURABLY}
      SELECT * INTO g FROM ${names.of("groups")} e WHERE e.name = p_group FOR UPDATE;
      IF NOT FOUND THEN
        RETURN NEXT json_build_object('status', 'purged', 'count', 0);
        RETURN;
      END IF;
      IF NOT ${isSoundGroup("g")} THEN ${verdict("corrupt")} END IF;
      v_now := ${names.of("now")}();
      SELECT array_agg(l.id), array_agg(l.incarnation), max(l.incarnation) INTO v_ids, v_incarnations, v_floor FROM (
        SELECT e.id, e.incarnation FROM ${resources} e WHERE e.group_name = p_group AND (e.id, e.incarnation) IN (
          SELECT o.id, o.incarnation FROM ${resources} o WHERE o.group_name = p_group AND o.state = 'TERMINATED'
            AND o.state_changed_at <= v_now - p_age_ms AND ${isSoundResource("o")}
            ORDER BY o.state_changed_at LIMIT p_limit)
        ORDER BY e.id, e.incarnation FOR UPDATE
      ) l;
      DELETE FROM ${resources} e USING unnest(v_ids, v_incarnations) AS o(id, incarnation)
        WHERE e.group_name = p_group AND e.id = o.id AND e.incarnation = o.incarnation;
      -- In the step that deletes them, so that no incarnation comes back.
      IF v_floor > g.floor THEN UPDATE ${names.of("groups")} e SET floor = v_floor WHERE e.name = p_group; END IF;
      RETURN NEXT json_build_object('status', 'purged', 'count', COALESCE(cardinality(v_ids), 0));`,
  });
}
