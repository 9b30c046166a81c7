import type { PostgresRow } from "../stores/postgres-driver.ts";
import { type Check, FINE, found, type Verdict } from "./doctor-check.ts";
import type { DoctorLimits } from "./doctor-limits.ts";
import { durationText } from "./duration-text.ts";

/** A server that can be asked. */
export interface PostgresSubject {
  /** One statement in a transaction of its own. */
  ask(text: string, values?: readonly string[]): Promise<PostgresRow[]>;
  /** Of the URL. */
  readonly port: string;
  readonly limits: DoctorLimits;
}

/** What can be said of a server, whatever ledgers it has. */
export const POSTGRES_SERVER_CHECKS: readonly Check<PostgresSubject>[] = [
  { id: "pg-version", look: version },
  { id: "pg-read-only", look: readOnly },
  { id: "pg-synchronous-commit", look: synchronousCommit },
  { id: "pg-fsync", look: ({ ask }) => switchedOff(ask, "fsync", "a crash of the machine can destroy the database") },
  {
    id: "pg-full-page-writes",
    look: ({ ask }) => switchedOff(ask, "full_page_writes", "a crash of the machine can leave half-written pages"),
  },
  { id: "pg-synchronous-standbys", look: synchronousStandbys },
  { id: "pg-connections", look: connections },
  { id: "pg-pooler", look: pooler },
  { id: "pg-idle-in-transaction", look: idleInTransaction },
  { id: "pg-long-transactions", look: longTransactions },
];

async function version({ ask }: PostgresSubject): Promise<Verdict> {
  const number = Number(await setting(ask, "server_version_num"));
  if (number >= 120_000) return FINE;
  return found(
    "error",
    `PostgreSQL is of version ${await setting(ask, "server_version")}; the store needs 12`,
    "upgrade PostgreSQL to 12 or later",
  );
}

async function readOnly({ ask }: PostgresSubject): Promise<Verdict> {
  const [row] = await ask("SELECT pg_is_in_recovery()::text AS standby");
  if (row?.["standby"] === "true") {
    return found(
      "error",
      "the URL leads to a standby, which takes no writes",
      "name the primary, or several hosts with `target_session_attrs=read-write`",
    );
  }
  if ((await setting(ask, "transaction_read_only")) !== "on") return FINE;
  return found(
    "error",
    "transactions are read-only for this user or database",
    "run `ALTER ROLE … SET default_transaction_read_only = off`, or the same with ALTER DATABASE",
  );
}

async function synchronousCommit({ ask }: PostgresSubject): Promise<Verdict> {
  const mode = await setting(ask, "synchronous_commit");
  if (mode === "off") {
    return found(
      "error",
      "synchronous_commit is off: a crash of the server loses commits that it had acknowledged, and what they record runs again",
      "set `synchronous_commit = on`: in postgresql.conf, or `ALTER ROLE … SET synchronous_commit = on` where that sets it off",
    );
  }
  const standbys = await setting(ask, "synchronous_standby_names");
  if (mode !== "local" || standbys === "") return FINE;
  return found(
    "warning",
    "synchronous_commit is local: commits don't wait for the synchronous standbys, and a failover can lose them",
    "set `synchronous_commit = on` for the role of the processes that use the ledger",
  );
}

async function switchedOff(ask: PostgresSubject["ask"], name: string, harm: string): Promise<Verdict> {
  if ((await setting(ask, name)) === "on") return FINE;
  return found("error", `${name} is off: ${harm}`, `run \`ALTER SYSTEM SET ${name} = on; SELECT pg_reload_conf()\``);
}

async function synchronousStandbys({ ask }: PostgresSubject): Promise<Verdict> {
  const [row] = await ask(
    // Whoever may not see the state sees NULL; a backup that is being taken is no standby.
    "SELECT count(*) AS standbys FROM pg_catalog.pg_stat_replication WHERE coalesce(state, 'streaming') IN ('streaming', 'catchup')",
  );
  const standbys = Number(row?.["standbys"]);
  if (standbys === 0 || (await setting(ask, "synchronous_standby_names")) !== "") return FINE;
  return found(
    "warning",
    `PostgreSQL has ${standbys} ${standbys === 1 ? "standby" : "standbys"} and synchronous_standby_names is empty: a failover loses what had not reached them, which then runs again`,
    "set `synchronous_standby_names = 'ANY 1 (…)'`, with two standbys or more so that one that is away stops nothing",
  );
}

async function connections({ ask, limits }: PostgresSubject): Promise<Verdict> {
  const [row] = await ask(`
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS server,
      (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend') AS of_server,
      (SELECT datconnlimit FROM pg_catalog.pg_database WHERE datname = current_database()) AS database,
      (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = current_database()
        AND backend_type = 'client backend') AS of_database,
      (SELECT rolconnlimit FROM pg_catalog.pg_roles WHERE rolname = current_user) AS role,
      (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usename = current_user
        AND backend_type = 'client backend') AS of_role`);
  const bounds = [
    { of: "the server", used: "of_server", most: "server", change: "raise max_connections" },
    { of: "the database", used: "of_database", most: "database", change: "run `ALTER DATABASE … CONNECTION LIMIT N`" },
    { of: "the role", used: "of_role", most: "role", change: "run `ALTER ROLE … CONNECTION LIMIT N`" },
  ];
  return bounds.flatMap(({ of, used, most, change }) => {
    const bound = Number(row?.[most]);
    const left = bound - Number(row?.[used]);
    // -1 is no bound.
    if (bound < 0 || left >= bound * limits.connectionsLeftShare) return [];
    return {
      severity: "warning",
      what: `${left} of ${bound} connections of ${of} are left: processes that need one get STORE_UNAVAILABLE`,
      change: `set a smaller \`max\` for the pools, put a pgbouncer before it, or ${change}`,
      subject: of,
    };
  });
}

/** A pooler that hands each transaction to another connection gives itself away by their process ids, or by its port. */
async function pooler({ ask, port }: PostgresSubject): Promise<Verdict> {
  const pid = "SELECT pg_backend_pid() AS pid, inet_server_port() AS port FROM pg_sleep(0.01)";
  // Several at once, so that a pooler has to hand out several; then one after the other on one connection of ours.
  await Promise.all([ask(pid), ask(pid), ask(pid)]);
  const rows = [await ask(pid), await ask(pid), await ask(pid), await ask(pid)].flat();
  const isShared = new Set(rows.map((row) => row["pid"])).size > 1;
  const own = rows[0]?.["port"] ?? null;
  if (!isShared && (own === null || own === port)) return FINE;
  return found(
    "hint",
    isShared
      ? "a pooler in transaction mode stands before the server: LISTEN does not work through it"
      : `something stands before the server, which listens on port ${own}: a pooler, or a forwarded port`,
    "give `postgresStore(pool, { listen: URL })` the server's own URL, so that waiting callers are woken at once",
  );
}

async function idleInTransaction({ ask, limits }: PostgresSubject): Promise<Verdict> {
  const { count, longestMs } = await sessions(ask, "state LIKE 'idle in transaction%'", limits.idleInTransactionMs);
  if (count === 0) return FINE;
  return found(
    "warning",
    `${count} ${count === 1 ? "session is" : "sessions are"} idle in a transaction, the longest for ${durationText(longestMs)}: records that they wrote can't be written by others, and nothing is vacuumed`,
    "end them: `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'`; set `idle_in_transaction_session_timeout = '60s'`",
  );
}

async function longTransactions({ ask, limits }: PostgresSubject): Promise<Verdict> {
  const { count, longestMs } = await sessions(ask, "state NOT LIKE 'idle%'", limits.transactionMs);
  if (count === 0) return FINE;
  return found(
    "warning",
    `${count} ${count === 1 ? "transaction has" : "transactions have"} run for long, the longest for ${durationText(longestMs)}: nothing that was deleted since can be vacuumed`,
    "look at `SELECT pid, xact_start, query FROM pg_stat_activity ORDER BY xact_start`, and end what should not run",
  );
}

async function sessions(ask: PostgresSubject["ask"], where: string, leastMs: number) {
  const [row] = await ask(
    `SELECT count(*) AS count, max(extract(epoch FROM clock_timestamp() - xact_start)) * 1000 AS longest
      FROM pg_catalog.pg_stat_activity WHERE ${where} AND pid <> pg_backend_pid() AND backend_type = 'client backend'
        AND clock_timestamp() - xact_start > $1::float8 * interval '1 millisecond'`,
    [String(leastMs)],
  );
  return { count: Number(row?.["count"]), longestMs: Number(row?.["longest"]) };
}

async function setting(ask: PostgresSubject["ask"], name: string): Promise<string> {
  const [row] = await ask("SELECT current_setting($1) AS setting", [name]);
  return row?.["setting"] ?? "";
}
