import type { PostgresRow } from "./postgres-driver.ts";
import type { PostgresLedger } from "./postgres-schema.ts";

/** How many bytes of outcomes share a statement at most, there and back; a larger outcome goes alone. */
export const MOST_BYTES = 1_048_576;

/** A function of the ledger that decides about one record. */
export interface RecordOperation {
  /** Of the function. */
  readonly name: string;
  /** The function's parameters in their order: the fields that each call gives, with their types. */
  readonly fields: Readonly<Record<string, "text" | "bigint" | "boolean">>;
  /** Whether the call's bytes follow as the last parameter. */
  readonly bytes: boolean;
  /** Whether it may answer with the outcomes of the execution `id`. */
  readonly answersOutcomes: boolean;
}

export function recordOperation(
  name: string,
  fields: RecordOperation["fields"],
  { bytes = false, answersOutcomes = false }: { readonly bytes?: boolean; readonly answersOutcomes?: boolean } = {},
): RecordOperation {
  return { name, fields, bytes, answersOutcomes };
}

/** One call's part of a statement. */
export interface RecordCall {
  /** The record's id or name: calls are sorted by it, so that two statements can't wait for each other in a circle. */
  readonly record: string;
  readonly fields: Readonly<Record<string, string | number | boolean | null>>;
  readonly bytes?: Uint8Array;
}

/** What a function answers, beside what is its own. */
export interface RecordAnswer {
  readonly status: string;
}

/** In place of an answer that would be too much with the others of its statement: nothing was decided. */
export interface LargeAnswer extends RecordAnswer {
  readonly status: "large";
  /** What the answer would hold. */
  readonly bytes: number;
}

/** The statements of an operation on one ledger. They have no names, so that they go through any pooler. */
export interface RecordStatements {
  readonly ofOne: string;
  /** A row of `q` for each call. */
  readonly ofMany: string;
}

export function statementsOf(operation: RecordOperation, { names }: PostgresLedger): RecordStatements {
  const { name, fields, bytes, answersOutcomes } = operation;
  const called = names.of(name);
  const types = Object.entries(fields);
  const columns = ["n int", ...types.map(([field, type]) => `"${field}" ${type}`)];
  if (bytes) columns.push("byte_from int", "byte_count int");
  const columnsOfMany = types.map(([field]) => `q."${field}"`);
  const parameters = types.map(([, type], index) => `$${index + 1}::text::${type}`);
  if (bytes) {
    // All bytes of a statement come as one parameter, in the binary format.
    columnsOfMany.push("substring($2::bytea FROM q.byte_from FOR q.byte_count)");
    parameters.push(`$${parameters.length + 1}::bytea`);
  }
  const answer = `${called}(${columnsOfMany.join(", ")})::text`;
  const calls = `json_to_recordset($1::json) AS q(${columns.join(", ")})`;
  return {
    // Not as a row of many: a plain call is planned and carried out in half of the time.
    ofOne: `SELECT '0' AS n, ${called}(${parameters.join(", ")})::text AS answer`,
    ofMany: answersOutcomes
      ? `WITH sizes AS MATERIALIZED (SELECT ${names.of("outcome_bytes")}(ARRAY(
          SELECT c.id FROM json_to_recordset($1::json) AS c(n int, id text) ORDER BY c.n)) AS bytes)
        SELECT q.n::text AS n, CASE WHEN q.upto <= ${MOST_BYTES} THEN ${answer}
          ELSE json_build_object('status', 'large', 'bytes', q.bytes)::text END AS answer
        FROM (SELECT q.*, sum(q.bytes) OVER (ORDER BY q.bytes, q.n) AS upto FROM (
          SELECT q.*, sizes.bytes[q.n + 1] AS bytes FROM ${calls}, sizes) q ORDER BY q.n) q`
      : `SELECT q.n::text AS n, ${answer} AS answer FROM ${calls}`,
  };
}

/** The values of {@link RecordStatements.ofOne}. */
export function valuesOfOne({ fields, bytes }: RecordCall, operation: RecordOperation): (string | Uint8Array | null)[] {
  const values = Object.keys(operation.fields).map((name) => {
    const value = fields[name] ?? null;
    return value === null ? null : String(value);
  });
  return bytes === undefined ? values : [...values, joined([bytes])];
}

/** The values of {@link RecordStatements.ofMany}. */
export function valuesOfMany(calls: readonly RecordCall[]): (string | Uint8Array)[] {
  const rows: object[] = [];
  const parts: Uint8Array[] = [];
  let from = 1;
  for (const [n, { fields, bytes }] of calls.entries()) {
    rows.push(bytes === undefined ? { n, ...fields } : { n, ...fields, byte_from: from, byte_count: bytes.length });
    if (bytes === undefined) continue;
    parts.push(bytes);
    from += bytes.length;
  }
  const json = JSON.stringify(rows);
  return parts.length === 0 ? [json] : [json, joined(parts)];
}

/** What the function answered to each call, in the calls' order. */
export function answersOf(calls: number, rows: readonly PostgresRow[]): (RecordAnswer | undefined)[] {
  const answers = new Map(rows.map(({ n, answer }) => [Number(n), answer]));
  return Array.from({ length: calls }, (_, n) => {
    const text = answers.get(n);
    return typeof text === "string" ? (JSON.parse(text) as RecordAnswer) : undefined;
  });
}

/** As a Buffer, which every driver takes for bytes. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [first] = parts;
  return parts.length === 1 && Buffer.isBuffer(first) ? first : Buffer.concat(parts);
}
