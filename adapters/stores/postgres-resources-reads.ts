import type { PostgresNames } from "./postgres-names.ts";
import {
  isSoundGroup,
  isSoundResource,
  resourceFunction,
  silentSince,
  verdict,
} from "./postgres-resources-functions.ts";

/** What only reads. Each looks at one index, and at as much of it as it answers. */
export function readingFunctions(names: PostgresNames): string {
  return [
    getDesiredFunction(names),
    getFunction(names),
    listFunction(names),
    changedSinceFunction(names),
    staleBeforeFunction(names),
    listGroupsFunction(names),
  ].join("\n");
}

function getDesiredFunction(names: PostgresNames): string {
  return resourceFunction(names, {
    name: "get_desired",
    kind: "reads",
    parameters: "p_group text",
    body: `
      SELECT * INTO g FROM ${names.of("groups")} e WHERE e.name = p_group;
      IF NOT FOUND THEN ${verdict("missing")} END IF;
      IF NOT ${isSoundGroup("g")} THEN ${verdict("corrupt")} END IF;
      RETURN NEXT json_build_object('status', 'found', 'generation', g.generation, 'desired', g.desired,
        'said', g.status, 'epoch', g.epoch);`,
  });
}

function getFunction(names: PostgresNames): string {
  return resourceFunction(names, {
    name: "get_resource",
    kind: "reads",
    parameters: "p_group text, p_id text",
    body: `
      SELECT * INTO r FROM ${names.of("resources")} e WHERE e.group_name = p_group AND e.id = p_id
        ORDER BY e.incarnation DESC LIMIT 1;
      IF NOT FOUND THEN ${verdict("missing")} END IF;
      IF NOT ${isSoundResource("r")} THEN ${verdict("corrupt")} END IF;
      RETURN NEXT row_to_json(r);
      RETURN NEXT json_build_object('status', 'found', 'now', ${names.of("now")}());`,
  });
}

function listFunction(names: PostgresNames): string {
  return resourceFunction(names, {
    name: "list_resources",
    kind: "reads",
    parameters: "p_group text, p_states text[], p_after_id text, p_after_incarnation bigint, p_limit bigint",
    body: `
      v_now := ${names.of("now")}();
      RETURN QUERY SELECT row_to_json(e) FROM ${names.of("resources")} e
        WHERE e.group_name = p_group AND (e.id, e.incarnation) > (p_after_id, p_after_incarnation)
          AND (p_states IS NULL OR e.state = ANY (p_states)) AND ${isSoundResource("e")}
        ORDER BY e.id, e.incarnation LIMIT p_limit;
      RETURN NEXT json_build_object('status', 'listed', 'now', v_now);`,
  });
}

/** See `changesStart` and `changesAnswer`. Without a mark, from the beginning. */
function changedSinceFunction(names: PostgresNames): string {
  return resourceFunction(names, {
    name: "changed_since",
    kind: "reads",
    parameters: "p_group text, p_mark text, p_after bigint, p_limit bigint",
    variables: "v_ours boolean;",
    body: `
      SELECT * INTO g FROM ${names.of("groups")} e WHERE e.name = p_group;
      IF FOUND AND NOT ${isSoundGroup("g")} THEN ${verdict("corrupt")} END IF;
      v_now := ${names.of("now")}();
      v_ours := COALESCE(p_mark = g.mark AND p_after <= g.sequence, false);
      p_after := CASE WHEN v_ours THEN p_after ELSE 0 END;
      RETURN QUERY SELECT row_to_json(e) FROM ${names.of("resources")} e
        WHERE e.group_name = p_group AND e.sequence > p_after AND ${isSoundResource("e")}
        ORDER BY e.sequence LIMIT p_limit;
      RETURN NEXT json_build_object('status', 'told', 'now', v_now, 'mark', g.mark, 'after', p_after,
        'reset', p_mark IS NOT NULL AND NOT v_ours);`,
  });
}

/** See `staleAnswer`. */
function staleBeforeFunction(names: PostgresNames): string {
  const provisioned = `FROM ${names.of("resources")} e
        WHERE e.group_name = p_group AND e.state = 'PROVISIONED' AND ${isSoundResource("e")}`;
  const inOrder = `ORDER BY ${silentSince("e")}`;
  return resourceFunction(names, {
    name: "stale_before",
    kind: "reads",
    parameters: "p_group text, p_age_ms bigint, p_limit bigint",
    variables: "v_count bigint := 0; v_next bigint;",
    body: `
      v_now := ${names.of("now")}();
      FOR r IN SELECT e.* ${provisioned} AND ${silentSince("e")} < v_now - p_age_ms ${inOrder} LIMIT p_limit + 1 LOOP
        v_count := v_count + 1;
        IF v_count <= p_limit THEN RETURN NEXT row_to_json(r); END IF;
      END LOOP;
      IF v_count > p_limit THEN
        -- One that only the limit kept out is in at once.
        v_next := v_now;
      ELSE
        -- At exactly the age it is not in yet.
        SELECT ${silentSince("e")} + p_age_ms + 1 INTO v_next ${provisioned} AND ${silentSince("e")} >= v_now - p_age_ms
          ${inOrder} LIMIT 1;
      END IF;
      RETURN NEXT json_build_object('status', 'told', 'now', v_now, 'nextInMs', v_next - v_now);`,
  });
}

function listGroupsFunction(names: PostgresNames): string {
  return resourceFunction(names, {
    name: "list_groups",
    kind: "reads",
    parameters: "p_after text, p_limit bigint",
    body: `
      RETURN QUERY SELECT to_json(e.name) FROM ${names.of("groups")} e WHERE e.name > p_after ORDER BY e.name LIMIT p_limit;
      RETURN NEXT json_build_object('status', 'listed');`,
  });
}
