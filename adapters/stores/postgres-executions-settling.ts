import {
  after,
  CORRUPT,
  committed,
  DURABLY,
  EXPIRED,
  engineFunction,
  forgetSteps,
  HOLDS,
  isSound,
  LOCK,
  LOOKS,
  look,
  MISSING,
  status,
} from "./postgres-executions-functions.ts";
import type { PostgresNames } from "./postgres-names.ts";

/** The errors of `complete_within`, by which the store recognises them. They carry nothing of what is stored. */
export const STALE_ATTEMPT = "EK001";
export const OTHER_LEDGER = "EK002";
export const CORRUPT_RECORD = "EK003";

/** See `decideComplete`. */
export function completeFunction(names: PostgresNames): string {
  return engineFunction(names, {
    name: "complete",
    parameters: COMPLETION,
    body: `${LOOKS}
      ${look(names)}
      ${MISSING}
      ${CORRUPT}
      ${EXPIRED}
      IF r.status = 'completed' THEN
        RETURN ${committed(`CASE WHEN ${HOLDS} THEN 'committed' ELSE 'finalized' END`)};
      END IF;
      IF NOT ${HOLDS} THEN ${status("lost")} END IF;
      ${LOCK}
      ${writeCompletion(names)}
    END LOOP;
    ${status("busy")}`,
  });
}

/**
 * A completion inside of the user's transaction. Whatever is in the way is raised, so that the transaction can't be
 * committed any more: nobody who overlooks the answer keeps the business writes of a stale attempt.
 *
 * What stands instead goes along as the name of a constraint: unlike messages and details, no server writes it to its log.
 */
export function completeWithinFunction(names: PostgresNames): string {
  const raise = (state: string, what: string, answer = "''"): string =>
    `RAISE EXCEPTION 'evenkeel: ${what}' USING ERRCODE = '${state}', CONSTRAINT = ${answer};`;
  const stale = (answer: string): string =>
    raise(STALE_ATTEMPT, "another attempt took over, so this transaction has to roll back", `(${answer})::text`);
  const word = (status: string): string => `json_build_object('status', '${status}')`;
  return engineFunction(names, {
    name: "complete_within",
    parameters: `${COMPLETION}, p_ledger text`,
    transaction: "user",
    body: `
      IF NOT EXISTS (SELECT FROM ${names.of("schema")} s WHERE s.ledger = p_ledger) THEN
        ${raise(OTHER_LEDGER, "the transaction is on another ledger")}
      END IF;
      SELECT * INTO r FROM ${names.of("executions")} e WHERE e.id = p_id FOR UPDATE;
      IF NOT FOUND THEN
        IF current_setting('transaction_isolation') <> 'read committed' THEN
          -- The snapshot may be older than the claim: then this finds the place taken by what it can't see, which is a 40001.
          BEGIN
            INSERT INTO ${names.of("executions")} (id) VALUES (p_id) ON CONFLICT (id) DO NOTHING;
          EXCEPTION WHEN serialization_failure THEN
            ${raise("40001", "the record is newer than the snapshot: begin the transaction after the claim")}
          END;
        END IF;
        ${stale(word("missing"))}
      END IF;
      v_now := ${names.of("now")}();
      IF NOT ${isSound("r")} THEN ${raise(CORRUPT_RECORD, "the record can not be read")} END IF;
      IF r.expires_at <= v_now THEN ${stale(word("missing"))} END IF;
      IF r.status = 'completed' THEN
        IF ${HOLDS} THEN RETURN ${committed("'committed'")}; END IF;
        ${stale(committed("'finalized'"))}
      END IF;
      IF NOT ${HOLDS} THEN ${stale(word("lost"))} END IF;
      ${writeCompletion(names)}`,
  });
}

/** See `decideRelease`. */
export function releaseFunction(names: PostgresNames): string {
  return engineFunction(names, {
    name: "release",
    parameters: `p_id text, p_token bigint, p_nonce text, p_mode text, p_attempt bigint, p_lease_expired_at bigint,
      p_retention_ms bigint, p_channel text`,
    variables: "v_lease_expires_at bigint;",
    body: `${LOOKS}
      ${look(names)}
      ${MISSING}
      ${CORRUPT}
      ${EXPIRED}
      IF r.status = 'completed' THEN
        RETURN ${committed(`CASE WHEN ${HOLDS} THEN 'committed' ELSE 'finalized' END`)};
      END IF;
      -- The token alone says that this very release was here before: a record that was given up has no nonce.
      IF r.token = p_token AND r.nonce = '' THEN ${status("released")} END IF;
      IF NOT ${HOLDS} THEN ${status("lost")} END IF;
      ${LOCK}
      ${DURABLY}
      IF p_mode = 'forget' THEN
        DELETE FROM ${names.of("executions")} e WHERE e.id = p_id;
        ${forgetSteps(names)}
      ELSE
        v_lease_expires_at := CASE WHEN p_mode = 'abandon' THEN COALESCE(p_lease_expired_at, v_now) ELSE v_now END;
        UPDATE ${names.of("executions")} e SET attempt = p_attempt, nonce = '',
          expires_at = ${after("v_lease_expires_at", "p_retention_ms")}, lease_expires_at = v_lease_expires_at,
          retry_granted = (p_mode = 'retry'), abandoned_at = NULL WHERE e.id = p_id;
      END IF;
      ${notify}
      ${status("released")}
    END LOOP;
    ${status("busy")}`,
  });
}

const COMPLETION = `p_id text, p_token bigint, p_nonce text, p_kind text, p_retention_ms bigint, p_channel text,
      p_outcome bytea`;

/** The answer to a completion that was written just now leaves the bytes out: the store has them. */
function writeCompletion(names: PostgresNames): string {
  return `
      ${DURABLY}
      UPDATE ${names.of("executions")} e SET status = 'completed', completed_at = v_now, outcome_kind = p_kind,
        outcome = p_outcome, expires_at = ${after("v_now", "p_retention_ms")},
        lease_expires_at = NULL, retry_granted = NULL, abandoned_at = NULL WHERE e.id = p_id;
      ${forgetSteps(names)}
      ${notify}
      RETURN json_build_object('status', 'committed', 'fingerprint', r.fingerprint, 'attempt', r.attempt,
        'completedAt', v_now, 'expiresInMs', ${after("v_now", "p_retention_ms")} - v_now);`;
}

const notify = "IF p_channel IS NOT NULL THEN PERFORM pg_notify(p_channel, p_id); END IF;";
