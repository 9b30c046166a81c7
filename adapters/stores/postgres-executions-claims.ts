import {
  after,
  CORRUPT,
  committed,
  DURABLY,
  engineFunction,
  FORMAT,
  forgetSteps,
  LOCK,
  LOOKS,
  look,
  status,
} from "./postgres-executions-functions.ts";
import type { PostgresNames } from "./postgres-names.ts";

/** Every so many grants delete as many expired records and more, so that a ledger in use does not grow for ever. */
const GRANTS_PER_PURGE = 16;
const PURGED_AT_ONCE = 32;

/** See `decideClaim`. */
export function claimFunction(names: PostgresNames): string {
  const tokens = names.of("tokens");
  // Under SERIALIZABLE every look into the index of expiry would be a conflict with each claim.
  const purgeSome = (token: string): string => `
        IF ${token} % ${GRANTS_PER_PURGE} = 0 AND current_setting('transaction_isolation') = 'read committed' THEN
          PERFORM ${names.of("purge")}(${PURGED_AT_ONCE});
        END IF;`;
  // Fingerprints are compared as digests of what nobody but the two sides knows: how long that takes tells nothing.
  const digest = (fingerprint: string): string => `sha256(convert_to(p_nonce || ${fingerprint}, 'UTF8'))`;
  return engineFunction(names, {
    name: "claim",
    parameters: `p_id text, p_operation text, p_scope text, p_key text, p_fingerprint text, p_nonce text,
      p_lease_ms bigint, p_retention_ms bigint, p_takeover boolean`,
    variables: "v_token bigint; v_steps json; v_abandoned_at bigint; v_lease_expires_at bigint;",
    body: `${LOOKS}
      ${look(names)}
      IF NOT FOUND THEN
        ${DURABLY}
        v_lease_expires_at := ${after("v_now", "p_lease_ms")};
        INSERT INTO ${names.of("executions")} AS e (id, format, operation, scope, key, fingerprint, attempt, token, nonce,
          created_at, retention_ms, expires_at, status, lease_expires_at, retry_granted)
        VALUES (p_id, ${FORMAT}, p_operation, p_scope, p_key, p_fingerprint, 1, nextval(${names.literal("tokens")}), p_nonce,
          v_now, p_retention_ms, ${after("v_lease_expires_at", "p_retention_ms")}, 'running', v_lease_expires_at, false)
        ON CONFLICT (id) DO NOTHING RETURNING e.token INTO v_token;
        -- Somebody else was first, and has committed: look at what is there.
        CONTINUE WHEN NOT FOUND;
        IF v_token <> (SELECT t.last_value FROM ${tokens} t) THEN
          UPDATE ${names.of("executions")} e SET token = nextval(${names.literal("tokens")}) WHERE e.id = p_id
            RETURNING e.token INTO v_token;
        END IF;
        ${forgetSteps(names)}
        ${purgeSome("v_token")}
        RETURN json_build_object('status', 'acquired', 'attempt', 1, 'token', v_token,
          'leaseRemainingMs', p_lease_ms, 'steps', '[]'::json);
      END IF;
      ${CORRUPT}
      IF r.expires_at > v_now THEN
        IF r.fingerprint IS NOT NULL AND p_fingerprint IS NOT NULL
          AND ${digest("r.fingerprint")} <> ${digest("p_fingerprint")} THEN ${status("mismatch")} END IF;
        IF r.status = 'completed' THEN RETURN ${committed("'completed'")}; END IF;
        IF r.lease_expires_at > v_now AND r.nonce <> p_nonce THEN
          RETURN json_build_object('status', 'running', 'attempt', r.attempt,
            'leaseRemainingMs', r.lease_expires_at - v_now);
        END IF;
        v_steps := ${names.of("steps_of")}(p_id);
        IF v_steps IS NULL THEN ${status("corrupt")} END IF;
        IF r.lease_expires_at > v_now THEN
          -- The same claim again, whose first answer was lost.
          RETURN json_build_object('status', 'acquired', 'attempt', r.attempt, 'token', r.token,
            'leaseRemainingMs', r.lease_expires_at - v_now, 'abandonedAt', r.abandoned_at, 'steps', v_steps);
        END IF;
        IF r.nonce <> p_nonce AND NOT p_takeover AND NOT r.retry_granted THEN
          RETURN json_build_object('status', 'abandoned', 'attempt', r.attempt,
            'leaseExpiredAt', r.lease_expires_at, 'steps', v_steps);
        END IF;
      END IF;
      ${LOCK}
      ${DURABLY}
      v_lease_expires_at := ${after("v_now", "p_lease_ms")};
      IF r.expires_at > v_now AND r.nonce = p_nonce THEN
        -- Nobody was granted anything since: the same grant gets a new lease.
        UPDATE ${names.of("executions")} e SET lease_expires_at = v_lease_expires_at,
          expires_at = ${after("v_lease_expires_at", "p_retention_ms")} WHERE e.id = p_id;
        RETURN json_build_object('status', 'acquired', 'attempt', r.attempt, 'token', r.token,
          'leaseRemainingMs', v_lease_expires_at - v_now, 'abandonedAt', r.abandoned_at, 'steps', v_steps);
      END IF;
      IF r.expires_at > v_now THEN
        v_abandoned_at := CASE WHEN NOT r.retry_granted THEN r.lease_expires_at END;
      ELSE
        -- An expired record counts as absent.
        r.attempt := 0;
        r.key := NULL;
        r.fingerprint := NULL;
        r.created_at := v_now;
        v_steps := '[]';
        ${forgetSteps(names)}
      END IF;
      UPDATE ${names.of("executions")} e SET operation = p_operation, scope = p_scope, key = COALESCE(r.key, p_key),
        fingerprint = COALESCE(r.fingerprint, p_fingerprint), attempt = r.attempt + 1,
        token = ${names.of("next_token")}(r.token),
        nonce = p_nonce, created_at = r.created_at, retention_ms = p_retention_ms,
        expires_at = ${after("v_lease_expires_at", "p_retention_ms")}, status = 'running',
        lease_expires_at = v_lease_expires_at, retry_granted = false, abandoned_at = v_abandoned_at,
        completed_at = NULL, outcome_kind = NULL, outcome = NULL
      WHERE e.id = p_id RETURNING e.token INTO v_token;
      ${purgeSome("v_token")}
      RETURN json_build_object('status', 'acquired', 'attempt', r.attempt + 1, 'token', v_token,
        'leaseRemainingMs', p_lease_ms, 'abandonedAt', v_abandoned_at, 'steps', v_steps);
    END LOOP;
    ${status("busy")}`,
  });
}
