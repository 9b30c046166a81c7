import {
  after,
  CORRUPT,
  committed,
  DURABLY,
  EXPIRED,
  engineFunction,
  LOCK,
  LOOKS,
  look,
  MISSING,
  status,
} from "./postgres-executions-functions.ts";
import type { PostgresNames } from "./postgres-names.ts";

/** See `decideSeize`. */
export function seizeFunction(names: PostgresNames): string {
  const seized = (token: string, leaseRemainingMs: string): string =>
    `RETURN json_build_object('status', 'seized', 'token', ${token}, 'attempt', r.attempt,
          'leaseRemainingMs', ${leaseRemainingMs});`;
  return engineFunction(names, {
    name: "seize",
    parameters: "p_id text, p_token bigint, p_nonce text, p_lease_ms bigint, p_retention_ms bigint",
    variables: "v_token bigint; v_lease_expires_at bigint;",
    body: `${LOOKS}
      ${look(names)}
      ${MISSING}
      ${CORRUPT}
      ${EXPIRED}
      IF r.status = 'completed' THEN RETURN ${committed("'completed'")}; END IF;
      IF r.nonce <> p_nonce THEN
        IF r.token <> p_token THEN ${status("changed")} END IF;
      ELSIF r.lease_expires_at > v_now THEN
        -- The same again, whose first answer was lost.
        ${seized("r.token", "r.lease_expires_at - v_now")}
      END IF;
      ${LOCK}
      ${DURABLY}
      v_token := CASE WHEN r.nonce = p_nonce THEN r.token ELSE ${names.of("next_token")}(r.token) END;
      v_lease_expires_at := ${after("v_now", "p_lease_ms")};
      UPDATE ${names.of("executions")} e SET token = v_token, nonce = p_nonce, lease_expires_at = v_lease_expires_at,
        expires_at = ${after("v_lease_expires_at", "p_retention_ms")}, retry_granted = false, abandoned_at = NULL
        WHERE e.id = p_id;
      ${seized("v_token", "v_lease_expires_at - v_now")}
    END LOOP;
    ${status("busy")}`,
  });
}
