import { BRIEFLY } from "./postgres-lock-waits.ts";
import type { PostgresNames } from "./postgres-names.ts";

/** The leases of a ledger: their table, and the decisions of `lease-record.ts` as functions, as executions have it. */
export function leasesSchema(names: PostgresNames): string {
  const leases = names.of("leases");
  const tokens = names.of("tokens");
  const holds = "(r.epoch = p_epoch AND r.holder = p_holder)";
  const lapsed = "r.expires_at <= v_now";
  return `
    CREATE TABLE ${leases} (
      name text COLLATE "C" PRIMARY KEY,
      holder text COLLATE "C",
      nonce text COLLATE "C",
      epoch bigint,
      renewals bigint,
      duration_ms bigint,
      expires_at bigint
    ) WITH (fillfactor = 50);
    ${leaseFunction(
      names,
      "acquire_lease",
      "p_name text, p_holder text, p_nonce text, p_duration_ms bigint",
      `IF NOT FOUND THEN
        ${DURABLY}
        INSERT INTO ${leases} AS l (name, holder, nonce, epoch, renewals, duration_ms, expires_at)
          VALUES (p_name, p_holder, p_nonce, nextval(${names.literal("tokens")}), 0, p_duration_ms, v_now + p_duration_ms)
          ON CONFLICT (name) DO NOTHING RETURNING l.epoch INTO v_epoch;
        CONTINUE WHEN NOT FOUND;
        -- As with tokens: the number may be older than the row's place.
        IF v_epoch <> (SELECT t.last_value FROM ${tokens} t) THEN
          UPDATE ${leases} l SET epoch = nextval(${names.literal("tokens")}) WHERE l.name = p_name RETURNING l.epoch INTO v_epoch;
        END IF;
        RETURN json_build_object('status', 'acquired', 'epoch', v_epoch, 'remainingMs', p_duration_ms);
      END IF;
      ${CORRUPT}
      IF NOT (${lapsed}) THEN
        IF r.nonce = p_nonce AND r.holder = p_holder THEN
          RETURN json_build_object('status', 'acquired', 'epoch', r.epoch, 'remainingMs', r.expires_at - v_now);
        END IF;
        RETURN ${leaseViewOf("r", "v_now", "held")};
      END IF;
      ${LOCK}
      UPDATE ${leases} l SET holder = p_holder, nonce = p_nonce, epoch = ${names.of("next_token")}(r.epoch), renewals = 0,
        duration_ms = p_duration_ms, expires_at = v_now + p_duration_ms WHERE l.name = p_name
        RETURNING l.epoch INTO v_epoch;
      RETURN json_build_object('status', 'acquired', 'epoch', v_epoch, 'remainingMs', p_duration_ms);`,
    )}
    ${leaseFunction(
      names,
      "renew_lease",
      "p_name text, p_holder text, p_epoch bigint, p_duration_ms bigint",
      `IF NOT FOUND THEN ${status("missing")} END IF;
      ${CORRUPT}
      IF NOT ${holds} OR ${lapsed} THEN ${status("lost")} END IF;
      ${LOCK}
      UPDATE ${leases} l SET renewals = r.renewals + 1, duration_ms = p_duration_ms,
        expires_at = v_now + p_duration_ms WHERE l.name = p_name;
      RETURN json_build_object('status', 'renewed', 'remainingMs', p_duration_ms);`,
    )}
    ${leaseFunction(
      names,
      "release_lease",
      "p_name text, p_holder text, p_epoch bigint",
      `IF NOT FOUND THEN ${status("missing")} END IF;
      ${CORRUPT}
      IF NOT ${holds} THEN ${status("lost")} END IF;
      ${LOCK}
      DELETE FROM ${leases} l WHERE l.name = p_name;
      ${status("released")}`,
    )}
    ${leaseFunction(
      names,
      "get_lease",
      "p_name text",
      `IF NOT FOUND THEN ${status("missing")} END IF;
      ${CORRUPT}
      IF ${lapsed} THEN ${status("missing")} END IF;
      RETURN ${leaseViewOf("r", "v_now", "held")};`,
    )}
    CREATE FUNCTION ${names.of("list_leases")}(p_prefix text) RETURNS SETOF json LANGUAGE plpgsql VOLATILE AS $evenkeel$
    DECLARE
      v_now bigint := ${names.of("now")}();
    BEGIN
      ${BRIEFLY}
      -- Not LIKE: a prefix may hold its wildcards. The comparison lets the primary key serve.
      RETURN QUERY SELECT ${leaseViewOf("l", "v_now", "held")} FROM ${leases} l
        WHERE l.name >= p_prefix AND starts_with(l.name, p_prefix) AND l.expires_at > v_now AND ${isSoundLease("l")}
        ORDER BY l.name;
    END $evenkeel$;`;
}

/** Whether a row is one that this version wrote. */
export function isSoundLease(row: string): string {
  return `((${row}.holder IS NOT NULL AND ${row}.nonce IS NOT NULL AND ${row}.epoch > 0 AND ${row}.renewals >= 0
    AND ${row}.duration_ms > 0 AND ${row}.expires_at >= 0) IS TRUE)`;
}

export function leaseViewOf(row: string, now: string, word: string): string {
  return `json_build_object('status', '${word}', 'name', ${row}.name, 'holder', ${row}.holder, 'epoch', ${row}.epoch,
    'renewals', ${row}.renewals, 'durationMs', ${row}.duration_ms, 'remainingMs', ${row}.expires_at - ${now})`;
}

const status = (word: string): string => `RETURN json_build_object('status', '${word}');`;
const CORRUPT = `IF NOT ${isSoundLease("r")} THEN ${status("corrupt")} END IF;`;
const DURABLY =
  "IF current_setting('synchronous_commit') = 'off' THEN PERFORM set_config('synchronous_commit', 'on', true); END IF;";
const LOCK = `
      IF NOT v_locked THEN
        v_locked := true;
        CONTINUE;
      END IF;
      ${DURABLY}`;

function leaseFunction(names: PostgresNames, name: string, parameters: string, body: string): string {
  const leases = names.of("leases");
  return `
    CREATE FUNCTION ${names.of(name)}(${parameters}) RETURNS json LANGUAGE plpgsql VOLATILE AS $evenkeel$
    DECLARE
      r record;
      v_now bigint;
      v_epoch bigint;
      v_locked boolean := false;
    BEGIN
      ${BRIEFLY}
      FOR v_look IN 1..8 LOOP
      v_now := ${names.of("now")}();
      IF v_locked THEN
        SELECT * INTO r FROM ${leases} l WHERE l.name = p_name FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
          IF EXISTS (SELECT FROM ${leases} l WHERE l.name = p_name) THEN ${status("busy")} END IF;
          v_locked := false;
          CONTINUE;
        END IF;
      ELSE
        SELECT * INTO r FROM ${leases} l WHERE l.name = p_name;
      END IF;
      ${body}
      END LOOP;
      ${status("busy")}
    END $evenkeel$;`;
}
