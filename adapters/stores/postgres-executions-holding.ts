import {
  after,
  CORRUPT,
  DURABLY,
  EXPIRED,
  engineFunction,
  HOLDS,
  LOCK,
  LOOKS,
  look,
  MISSING,
  status,
} from "./postgres-executions-functions.ts";
import type { PostgresNames } from "./postgres-names.ts";

/** See `decideRenew`. */
export function renewFunction(names: PostgresNames): string {
  return engineFunction(names, {
    name: "renew",
    parameters: "p_id text, p_token bigint, p_nonce text, p_lease_ms bigint, p_retention_ms bigint",
    variables: "v_lease_expires_at bigint;",
    body: `${LOOKS}
      ${look(names)}
      ${MISSING}
      ${CORRUPT}
      ${EXPIRED}
      IF NOT ${HOLDS} THEN ${status("lost")} END IF;
      IF r.status = 'completed' THEN ${status("finalized")} END IF;
      IF r.lease_expires_at <= v_now THEN ${status("lost")} END IF;
      ${LOCK}
      ${DURABLY}
      v_lease_expires_at := ${after("v_now", "p_lease_ms")};
      UPDATE ${names.of("executions")} e SET lease_expires_at = v_lease_expires_at,
        expires_at = ${after("v_lease_expires_at", "p_retention_ms")} WHERE e.id = p_id;
      RETURN json_build_object('status', 'renewed', 'leaseRemainingMs', p_lease_ms);
    END LOOP;
    ${status("busy")}`,
  });
}

/** See `decideStep`. */
export function recordStepFunction(names: PostgresNames): string {
  return engineFunction(names, {
    name: "record_step",
    parameters: "p_id text, p_token bigint, p_nonce text, p_position bigint, p_name text, p_kind text, p_outcome bytea",
    body: `${LOOKS}
      ${look(names)}
      ${MISSING}
      ${CORRUPT}
      ${EXPIRED}
      IF NOT ${HOLDS} THEN ${status("lost")} END IF;
      IF r.status = 'completed' THEN ${status("finalized")} END IF;
      ${LOCK}
      ${DURABLY}
      INSERT INTO ${names.of("steps")} (id, position, name, outcome_kind, outcome)
        VALUES (p_id, p_position, p_name, p_kind, p_outcome) ON CONFLICT DO NOTHING;
      ${status("recorded")}
    END LOOP;
    ${status("busy")}`,
  });
}
