import type { PostgresDriver, PostgresRow, PostgresSession, PostgresStatement } from "./postgres-driver.ts";
import { isReadOnly, isUndefinedObject, misconfigured } from "./postgres-errors.ts";
import { executionsSchema } from "./postgres-executions-schema.ts";
import { leasesSchema } from "./postgres-leases-schema.ts";
import { type LedgerPlace, literalOf, namesOf, type PostgresNames, quoted } from "./postgres-names.ts";
import { resourcesSchema } from "./postgres-resources-schema.ts";

/** The schema that this version reads and writes. */
const VERSION = 1;

/** By how much the sequence of tokens is set ahead of what it has to exceed, where it fell behind. */
const LEAP = 1_000_000;

/** What {@link assertWritable} wants to know. */
const WRITABLE = "pg_is_in_recovery()::text AS standby, current_setting('transaction_read_only') AS read_only";

/** A ledger that is there and of this version. */
export interface PostgresLedger {
  readonly names: PostgresNames;
  /** Made with the schema, so that nothing of one ledger is taken for another's. */
  readonly identity: string;
}

/**
 * Looks for the ledger with one statement, two where there is none.
 * @throws EvenkeelError `STORE_MISCONFIGURED` for a server that can't be written to, and for a schema of another version.
 */
export async function findLedger(
  driver: PostgresDriver,
  { prefix, schema }: LedgerPlace,
  deadline: number,
): Promise<PostgresLedger | undefined> {
  const ask = async (text: string): Promise<PostgresRow | undefined> => {
    const statement: PostgresStatement = { text, values: [], deadline };
    const [row] = await driver.run(() => statement, deadline);
    return row;
  };
  const schemaTable = `${schema === undefined ? "" : `${quoted(schema)}.`}"${prefix}schema"`;
  try {
    const row = await ask(`
      SELECT ${WRITABLE},
        (SELECT n.nspname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE c.oid = to_regclass(${literalOf(schemaTable)})) AS schema,
        max(version)::text AS version, min(ledger)::text AS ledger
      FROM ${schemaTable}`);
    assertWritable(row);
    return acceptLedger(row, prefix);
  } catch (error) {
    if (!isUndefinedObject(error)) throw error;
  }
  assertWritable(await ask(`SELECT ${WRITABLE}`));
  return undefined;
}

/**
 * Creates or upgrades the schema. One transaction around all of it, which holds an advisory lock of its own, so that of many
 * processes one does the work and the others find it done. Functions are made here and nowhere else: two that replace one
 * function at once would fail ("tuple concurrently updated").
 */
export async function migrateSchema(driver: PostgresDriver, place: LedgerPlace, deadline: number): Promise<void> {
  try {
    await driver.transaction(deadline, (session) => migrateWithin(session, place));
  } catch (error) {
    if (isReadOnly(error)) throw notWritable({ cause: error });
    if (isUndefinedObject(error)) throw noSchema({ cause: error });
    throw error;
  }
}

async function migrateWithin(session: PostgresSession, place: LedgerPlace): Promise<void> {
  const { prefix } = place;
  const [row] = await session.query(
    `SELECT CASE WHEN $1 <> '' THEN (SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname = $1)
        ELSE current_schema() END::text AS schema,
      (SELECT p.setting IS DISTINCT FROM p.reset_val FROM pg_catalog.pg_settings p WHERE p.name = 'search_path')::text
        AS changed, ${WRITABLE}`,
    [place.schema ?? ""],
  );
  assertWritable(row);
  const schema = row?.["schema"];
  if (schema === null || schema === undefined) throw place.schema === undefined ? noSchema() : schemaMissing();
  const names = namesOf(schema, prefix);
  const schemaTable = place.schema === undefined ? names.bare("schema") : names.of("schema");
  await session.query("SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0))::text", [names.of("schema")]);
  // What another process has just made is seen from here on: each statement of READ COMMITTED looks anew.
  const [found] = await session.query(`SELECT to_regclass(${literalOf(schemaTable)})::text AS table`);
  if (typeof found?.["table"] === "string") {
    const [version] = await session.query(
      `SELECT '' AS schema, max(version)::text AS version, min(ledger) AS ledger FROM ${schemaTable}`,
    );
    acceptLedger(version, prefix);
    return;
  }
  if (place.schema === undefined && row?.["changed"] === "true") throw changedSearchPath();
  await session.script(schemaOf(names));
}

/** The whole schema of version 1: what each part of the ledger adds stands in a file of its own. */
function schemaOf(names: PostgresNames): string {
  return [
    `CREATE TABLE ${names.of("schema")} (version integer NOT NULL, ledger text NOT NULL);
    INSERT INTO ${names.of("schema")} VALUES (${VERSION}, md5(random()::text || clock_timestamp()::text));`,
    // Tokens and epochs: never cached by a session, so that they rise over all of them.
    `CREATE SEQUENCE ${names.of("tokens")} AS bigint MAXVALUE ${Number.MAX_SAFE_INTEGER} CACHE 1;`,
    nextTokenFunction(names),
    // Epoch milliseconds. Not now(), which is when the transaction began: who waited would be living in the past.
    `CREATE FUNCTION ${names.of("now")}() RETURNS bigint LANGUAGE sql VOLATILE AS
      $evenkeel$ SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint $evenkeel$;`,
    executionsSchema(names),
    leasesSchema(names),
    resourcesSchema(names),
  ].join("\n");
}

/**
 * A token above `p_above`, that of the grant before. The sequence may be behind the rows: logical replication, upgrades by way of it
 * and partial restores leave sequences where they were.
 *
 * The lock, which goes with the transaction, lets one at a time set the sequence; others can only take from it meanwhile, and to be
 * set back it would have to give out the whole {@link LEAP} between the look at it and the setting. Where a number would exceed the
 * sequence's end nothing is set, so that one broken row spoils no other record's tokens.
 */
function nextTokenFunction(names: PostgresNames): string {
  const tokens = names.literal("tokens");
  return `
    CREATE FUNCTION ${names.of("next_token")}(p_above bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $evenkeel$
    DECLARE
      v_token bigint := nextval(${tokens});
    BEGIN
      IF v_token > p_above THEN RETURN v_token; END IF;
      PERFORM pg_advisory_xact_lock(hashtextextended(${tokens}, 0));
      v_token := nextval(${tokens});
      IF v_token > p_above THEN RETURN v_token; END IF;
      PERFORM setval(${tokens}, GREATEST(p_above, (SELECT t.last_value FROM ${names.of("tokens")} t)) + ${LEAP});
      RETURN nextval(${tokens});
    END $evenkeel$;`;
}

function acceptLedger(row: PostgresRow | undefined, prefix: string): PostgresLedger {
  const version = Number(row?.["version"] ?? Number.NaN);
  const { schema, ledger } = row ?? {};
  if (version > VERSION) {
    throw misconfigured(`the ledger has schema ${version}, which is newer than ${VERSION}: upgrade evenkeel.`);
  }
  if (version !== VERSION || typeof schema !== "string" || typeof ledger !== "string") {
    throw misconfigured("the ledger's schema table holds no version: restore the database from a backup.");
  }
  return { names: namesOf(schema, prefix), identity: ledger };
}

function assertWritable(row: PostgresRow | undefined): void {
  if (row?.["standby"] === "true" || row?.["read_only"] === "on") throw notWritable();
}

function notWritable(options?: ErrorOptions): Error {
  return misconfigured("the server takes no writes: connect to the primary, with a user that may write.", options);
}

function noSchema(options?: ErrorOptions): Error {
  return misconfigured("no schema to create tables in: set a search_path that names one.", options);
}

function schemaMissing(): Error {
  return misconfigured("the schema that `schema` names is not there: create it, or name another.");
}

/** Whoever left it behind on a shared connection would choose where the ledger is, and other connections would find none. */
function changedSearchPath(): Error {
  return misconfigured("a SET has changed the connection's search_path: say in `schema` where the ledger belongs.");
}

export function noLedger(): Error {
  return misconfigured("the database holds no ledger: call migrate() first, or leave `migrate` out.");
}
