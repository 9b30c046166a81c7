import { isSound } from "../stores/postgres-executions-functions.ts";
import { executionsSchema } from "../stores/postgres-executions-schema.ts";
import { isSoundLease, leasesSchema } from "../stores/postgres-leases-schema.ts";
import type { PostgresNames } from "../stores/postgres-names.ts";
import { resourcesSchema } from "../stores/postgres-resources-schema.ts";
import { type Check, FINE, found, type Verdict } from "./doctor-check.ts";
import type { PostgresSubject } from "./doctor-postgres-server.ts";
import { MOST_IDS, unreadableLeasesVerdict, unreadableVerdict } from "./doctor-unreadable.ts";

/** A server and the names of a ledger that is in it. */
export interface PostgresLedgerSubject extends PostgresSubject {
  readonly names: PostgresNames;
}

/** What can be said of the tables of a ledger. */
export const POSTGRES_LEDGER_CHECKS: readonly Check<PostgresLedgerSubject>[] = [
  { id: "pg-privileges", look: privileges },
  { id: "pg-indexes", look: indexes },
  { id: "pg-dead-rows", look: deadRows },
  { id: "pg-autovacuum", look: autovacuum },
  { id: "pg-sequence", look: sequence },
  { id: "executions-unreadable", look: unreadable },
  { id: "leases-unreadable", look: unreadableLeases },
];

const TABLES = ["schema", "executions", "steps", "groups", "resources", "fences", "leases"];
const RIGHTS = ["SELECT", "INSERT", "UPDATE", "DELETE"];

async function privileges({ ask, names }: PostgresLedgerSubject): Promise<Verdict> {
  const tables = TABLES.flatMap((table) => rightsOf(table).map((right) => `('${right}', ${names.literal(table)})`));
  const rows = await ask(`
    SELECT r || ' ON ' || t AS missing FROM (VALUES ${tables.join()}) AS rights(r, t)
      WHERE NOT has_table_privilege(t::regclass, r)
    UNION ALL
    SELECT r || ' ON SEQUENCE ' || ${names.literal("tokens")} FROM (VALUES ('USAGE'), ('SELECT'), ('UPDATE')) AS rights(r)
      WHERE NOT has_sequence_privilege(${names.literal("tokens")}::regclass, r)
    UNION ALL
    SELECT 'EXECUTE ON FUNCTION ' || p.oid::regprocedure::text FROM pg_catalog.pg_proc p
      JOIN pg_catalog.pg_class c ON c.relnamespace = p.pronamespace AND c.oid = ${names.literal("schema")}::regclass
      WHERE starts_with(p.proname, '${names.prefix}') AND NOT has_function_privilege(p.oid, 'EXECUTE')`);
  return rows.map((row) => ({
    severity: "error",
    what: `this user lacks ${row["missing"]}`,
    change: `run \`GRANT ${row["missing"]} TO …\` as the owner of the ledger, if processes use it as this user`,
    subject: String(row["missing"]).split(" ON ").at(-1) ?? "",
  }));
}

function rightsOf(table: string): readonly string[] {
  return table === "schema" ? ["SELECT"] : table === "fences" || table === "groups" ? RIGHTS.slice(0, 3) : RIGHTS;
}

/** Against what the schema makes, so that nothing has to be listed twice. */
async function indexes({ ask, names }: PostgresLedgerSubject): Promise<Verdict> {
  const schema = [executionsSchema(names), leasesSchema(names), resourcesSchema(names)].join("\n");
  const made = [...schema.matchAll(/CREATE (?:UNIQUE )?INDEX "(\w+)"[^;]*/g)];
  const rows = await ask(
    `SELECT c.relname AS name, i.indisvalid::text AS valid FROM pg_catalog.pg_index i
      JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
      JOIN pg_catalog.pg_class l ON l.relnamespace = c.relnamespace AND l.oid = ${names.literal("schema")}::regclass
      WHERE starts_with(c.relname, $1)`,
    [names.prefix],
  );
  const valid = new Map(rows.map((row) => [row["name"], row["valid"] === "true"]));
  return made.flatMap(([statement, name = ""]) => {
    if (valid.get(name) === true) return [];
    const build = statement.replace(/\s+/g, " ").replace("INDEX", "INDEX CONCURRENTLY");
    return valid.has(name)
      ? {
          severity: "warning",
          what: `the index ${name} is invalid: its making was interrupted`,
          change: `run \`REINDEX INDEX CONCURRENTLY ${names.of(name.slice(names.prefix.length))}\``,
          subject: name,
        }
      : {
          severity: "warning",
          what: `the index ${name} is missing: what it serves reads the whole table`,
          change: `run \`${build}\``,
          subject: name,
        };
  });
}

async function deadRows({ ask, names, limits }: PostgresLedgerSubject): Promise<Verdict> {
  const rows = await ask(`
    SELECT relname AS name, n_dead_tup AS dead, n_live_tup AS live, coalesce(last_autovacuum::text, 'never') AS vacuumed
    FROM pg_catalog.pg_stat_user_tables WHERE relid IN (${TABLES.map((table) => `${names.literal(table)}::regclass`).join()})
    ORDER BY relname`);
  return rows.flatMap((row) => {
    if (Number(row["dead"]) <= limits.deadRows || Number(row["dead"]) <= Number(row["live"])) return [];
    return {
      severity: "warning",
      what: `${row["name"]} has ${row["dead"]} dead rows beside ${row["live"]} live ones, and was vacuumed by itself ${row["vacuumed"] === "never" ? "never" : `last at ${row["vacuumed"]}`}`,
      change: `run \`VACUUM (ANALYZE) ${row["name"]}\`; end long transactions, and see that autovacuum is on`,
      subject: row["name"] ?? "",
    };
  });
}

async function autovacuum({ ask, names }: PostgresLedgerSubject): Promise<Verdict> {
  const [row] = await ask(
    "SELECT current_setting('autovacuum') AS autovacuum, current_setting('track_counts') AS counts",
  );
  if (row?.["autovacuum"] !== "on" || row?.["counts"] !== "on") {
    return found(
      "warning",
      "autovacuum is off: the tables of the ledger, whose rows are written again and again, grow without end",
      "run `ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf()`",
    );
  }
  const off = await ask(`
    SELECT relname AS name FROM pg_catalog.pg_class
    WHERE oid IN (${TABLES.map((table) => `${names.literal(table)}::regclass`).join()})
      AND EXISTS (SELECT FROM unnest(reloptions) o WHERE o IN ('autovacuum_enabled=false', 'autovacuum_enabled=off', 'autovacuum_enabled=0'))
    ORDER BY relname`);
  return off.map(({ name }) => ({
    severity: "warning",
    what: `autovacuum is off for ${name}: it grows without end`,
    change: `run \`ALTER TABLE ${name} RESET (autovacuum_enabled)\``,
    subject: name ?? "",
  }));
}

/** What logical replication and partial restores leave behind. The store leaps over it by itself. */
async function sequence({ ask, names }: PostgresLedgerSubject): Promise<Verdict> {
  const [row] = await ask(`
    SELECT (SELECT last_value FROM ${names.of("tokens")}) AS last, greatest(
      (SELECT max(token) FROM ${names.of("executions")}),
      (SELECT max(epoch) FROM ${names.of("leases")}),
      (SELECT max(fencing_token) FROM ${names.of("resources")})) AS highest`);
  const last = Number(row?.["last"]);
  const highest = Number(row?.["highest"] ?? 0);
  if (highest <= last) return FINE;
  return found(
    "warning",
    `the sequence of fencing tokens stands at ${last}, behind a row with ${highest}: it was restored or replicated without its place; the store leaps over it, record by record`,
    `run \`SELECT setval(${names.literal("tokens")}, ${highest})\``,
  );
}

async function unreadable({ ask, names }: PostgresLedgerSubject): Promise<Verdict> {
  const rows = await ask(
    `SELECT r.id FROM ${names.of("executions")} r WHERE NOT ${isSound("r")} ORDER BY r.id LIMIT ${MOST_IDS}`,
  );
  return unreadableVerdict(rows.map(({ id }) => id ?? ""));
}

async function unreadableLeases({ ask, names }: PostgresLedgerSubject): Promise<Verdict> {
  const rows = await ask(
    `SELECT l.name FROM ${names.of("leases")} l WHERE NOT ${isSoundLease("l")} ORDER BY l.name LIMIT ${MOST_IDS}`,
  );
  const ids = rows.map(({ name }) => name ?? "");
  return unreadableLeasesVerdict(ids, names.of("leases"));
}
