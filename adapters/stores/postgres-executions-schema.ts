import type { PostgresNames } from "./postgres-names.ts";

/** Tells this layout of a row from those of versions to come. */
const FORMAT = 1;
/** The largest number that JavaScript keeps exactly: later moments never come. */
const MAX = Number.MAX_SAFE_INTEGER;
/** Every so many grants delete as many expired records and more, so that a ledger in use does not grow for ever. */
const GRANTS_PER_PURGE = 16;
const PURGED_AT_ONCE = 32;

/**
 * The executions of a ledger: their tables, and the decisions of `execution-record.ts` as functions. One call of a function
 * is one statement, one transaction and one round trip.
 *
 * - **Look, then lock.** A function looks at the record without a lock. An answer that writes nothing is given from that
 *   look. To write it locks the row and decides again: nothing rests on what was read before.
 * - **Nobody waits for a transaction of the user's.** The lock is taken with SKIP LOCKED: a record that somebody else is
 *   writing is `busy`, and the store asks again. `complete_within` alone may wait, since it belongs to the user.
 * - **Tokens.** `nextval` is taken by whoever has the row, never before: among all transactions only one at a time holds
 *   the row, or its place in the primary key, so that along a record's grants the numbers rise. Where the record is new the
 *   number comes with the insertion, possibly before it had to wait for the place; if then the sequence has moved on,
 *   somebody may have been granted a higher one in between (and have deleted the record again), so a new one is taken.
 */
export function executionsSchema(names: PostgresNames): string {
  return [
    tables(names),
    stepsFunction(names),
    purgeFunction(names),
    claimFunction(names),
    renewFunction(names),
    completeFunction(names),
    completeWithinFunction(names),
    releaseFunction(names),
    recordStepFunction(names),
    getFunction(names),
  ].join("\n");
}

/** No constraints beside the primary keys: what a row may hold is judged where it is read, and told as RECORD_CORRUPT. */
function tables(names: PostgresNames): string {
  return `
    CREATE TABLE ${names.of("executions")} (
      id text COLLATE "C" PRIMARY KEY,
      format integer,
      operation text COLLATE "C",
      scope text COLLATE "C",
      key text COLLATE "C",
      fingerprint text COLLATE "C",
      attempt bigint,
      token bigint,
      nonce text COLLATE "C",
      created_at bigint,
      retention_ms bigint,
      expires_at bigint,
      status text COLLATE "C",
      lease_expires_at bigint,
      retry_granted boolean,
      abandoned_at bigint,
      completed_at bigint,
      outcome_kind text COLLATE "C",
      outcome bytea
    ) WITH (fillfactor = 80);
    CREATE INDEX ${names.bare("executions_expiry")} ON ${names.of("executions")} (expires_at);
    CREATE INDEX ${names.bare("executions_running")} ON ${names.of("executions")} (id) WHERE status = 'running';
    CREATE TABLE ${names.of("steps")} (
      id text COLLATE "C",
      position bigint,
      name text COLLATE "C",
      outcome_kind text COLLATE "C",
      outcome bytea,
      PRIMARY KEY (id, position)
    );`;
}

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

interface EngineFunction {
  readonly name: string;
  readonly parameters: string;
  readonly variables?: string;
  readonly body: string;
}

/** Parameters are p_…, variables v_…, and `r` is the record, so that none of them is taken for a column. */
function engineFunction(names: PostgresNames, { name, parameters, variables = "", body }: EngineFunction): string {
  return `
    CREATE FUNCTION ${names.of(name)}(${parameters}) RETURNS json LANGUAGE plpgsql VOLATILE AS $evenkeel$
    DECLARE
      r ${names.of("executions")}%ROWTYPE;
      v_now bigint;
      v_locked boolean := false;
      ${variables}
    BEGIN
      ${body}
    END $evenkeel$;`;
}

/** Answers as a caller without a record gets it. */
const status = (word: string): string => `RETURN json_build_object('status', '${word}');`;

const after = (moment: string, duration: string): string => `LEAST(${moment} + ${duration}, ${MAX})`;

/** Sets `r` and FOUND: at first from a look without a lock, the second time from the locked row. */
function look(names: PostgresNames): string {
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
const LOCK = `
      IF NOT v_locked THEN
        v_locked := true;
        CONTINUE;
      END IF;`;

/** An acknowledged write has to survive a crash, whatever the session's default is. For this transaction only. */
const DURABLY = `
      IF current_setting('synchronous_commit') = 'off' THEN PERFORM set_config('synchronous_commit', 'on', true); END IF;`;

/** A record that vanishes and comes back between looks does so only this often; then the store asks again. */
const LOOKS = "FOR v_look IN 1..8 LOOP";
const MISSING = "IF NOT FOUND THEN RETURN json_build_object('status', 'missing'); END IF;";
const CORRUPT = `IF NOT ${isSound("r")} THEN RETURN json_build_object('status', 'corrupt'); END IF;`;
const EXPIRED = "IF r.expires_at <= v_now THEN RETURN json_build_object('status', 'missing'); END IF;";
const HOLDS = "(r.token = p_token AND r.nonce = p_nonce)";

const committed = (word: string): string => `json_build_object('status', ${word}, 'fingerprint', r.fingerprint,
          'kind', r.outcome_kind, 'bytes', encode(r.outcome, 'hex'), 'attempt', r.attempt,
          'completedAt', r.completed_at, 'expiresInMs', r.expires_at - v_now)`;

const forgetSteps = (names: PostgresNames): string => `DELETE FROM ${names.of("steps")} s WHERE s.id = p_id;`;

const notify = "IF p_channel IS NOT NULL THEN PERFORM pg_notify(p_channel, p_id); END IF;";

/** The remembered steps; NULL when one of them can't be understood. */
function stepsFunction(names: PostgresNames): string {
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

/** Deletes expired records, and passes over those that somebody is writing. */
function purgeFunction(names: PostgresNames): string {
  return `
    CREATE FUNCTION ${names.of("purge")}(p_limit bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $evenkeel$
    DECLARE
      v_now bigint := ${names.of("now")}();
      v_ids text[];
    BEGIN
      SELECT array_agg(d.id) INTO v_ids FROM (
        SELECT e.id FROM ${names.of("executions")} e WHERE e.expires_at <= v_now AND ${isSound("e")}
        ORDER BY e.expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED
      ) d;
      IF v_ids IS NULL THEN RETURN 0; END IF;
      DELETE FROM ${names.of("steps")} s WHERE s.id = ANY(v_ids);
      DELETE FROM ${names.of("executions")} e WHERE e.id = ANY(v_ids);
      RETURN cardinality(v_ids);
    END $evenkeel$;`;
}

function claimFunction(names: PostgresNames): string {
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
        fingerprint = COALESCE(r.fingerprint, p_fingerprint), attempt = r.attempt + 1, token = nextval(${names.literal("tokens")}),
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

function renewFunction(names: PostgresNames): string {
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

const COMPLETION = `p_id text, p_token bigint, p_nonce text, p_kind text, p_retention_ms bigint, p_channel text,
      p_outcome bytea`;

function completeFunction(names: PostgresNames): string {
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

/** The errors of `complete_within`, by which the store recognises them. They carry nothing of what is stored. */
export const STALE_ATTEMPT = "EK001";
export const OTHER_LEDGER = "EK002";
export const CORRUPT_RECORD = "EK003";

/**
 * A completion inside of the user's transaction. Whatever is in the way is raised, so that the transaction can't be
 * committed any more: nobody who overlooks the answer keeps the business writes of a stale attempt.
 *
 * What stands instead goes along as the name of a constraint: unlike messages and details, no server writes it to its log.
 */
function completeWithinFunction(names: PostgresNames): string {
  const raise = (state: string, what: string, answer = "''"): string =>
    `RAISE EXCEPTION 'evenkeel: ${what}' USING ERRCODE = '${state}', CONSTRAINT = ${answer};`;
  const stale = (answer: string): string =>
    raise(STALE_ATTEMPT, "another attempt took over, so this transaction has to roll back", `(${answer})::text`);
  const word = (status: string): string => `json_build_object('status', '${status}')`;
  return engineFunction(names, {
    name: "complete_within",
    parameters: `${COMPLETION}, p_ledger text`,
    body: `
      IF NOT EXISTS (SELECT FROM ${names.of("schema")} s WHERE s.ledger = p_ledger) THEN
        ${raise(OTHER_LEDGER, "the transaction is on another ledger")}
      END IF;
      SELECT * INTO r FROM ${names.of("executions")} e WHERE e.id = p_id FOR UPDATE;
      IF NOT FOUND THEN ${stale(word("missing"))} END IF;
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

function releaseFunction(names: PostgresNames): string {
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

function recordStepFunction(names: PostgresNames): string {
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

function getFunction(names: PostgresNames): string {
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
