import { createHash } from "node:crypto";
import { misconfigured } from "./postgres-errors.ts";

/** What names begin with, unless it is said otherwise. */
export const DEFAULT_TABLE_PREFIX = "evenkeel_";

/** Where a ledger is looked for and made. */
export interface LedgerPlace {
  readonly prefix: string;
  /** Without it, where the `search_path` leads. */
  readonly schema: string | undefined;
}

/** The names of one ledger's tables and functions. */
export interface PostgresNames {
  readonly prefix: string;
  /** The channel on which settled records are told. */
  readonly channel: string;
  /** Qualified and quoted. `name` has at most 22 characters: with the longest prefix PostgreSQL would cut it off. */
  of(name: string): string;
  /** Quoted only, as `CREATE INDEX` wants it. */
  bare(name: string): string;
  /** {@link of} as a text literal, as `nextval` wants it. */
  literal(name: string): string;
}

/**
 * Every name is qualified with the ledger's schema, in statements as well as inside of functions: a connection whose
 * `search_path` somebody changed, which a pooler may hand over to us, must not find another ledger.
 */
export function namesOf(schema: string, prefix: string): PostgresNames {
  const quotedSchema = quoted(schema);
  const digest = createHash("sha256").update(`${quotedSchema}.${prefix}`).digest("hex");
  const of = (name: string): string => `${quotedSchema}."${prefix}${name}"`;
  return {
    prefix,
    channel: `evenkeel_${digest.slice(0, 32)}`,
    of,
    bare: (name) => `"${prefix}${name}"`,
    literal: (name) => literalOf(of(name)),
  };
}

export function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`;
}

/** With standard_conforming_strings off, a backslash would begin an escape. */
export function literalOf(text: string): string {
  const plain = text.replaceAll("'", "''");
  return plain.includes("\\") ? ` E'${plain.replaceAll("\\", "\\\\")}'` : `'${plain}'`;
}

/** @throws EvenkeelError `STORE_MISCONFIGURED` for a prefix that would need quoting. */
export function acceptPrefix(prefix: string): string {
  if (/^[a-z_][a-z0-9_]{0,40}$/.test(prefix)) return prefix;
  throw misconfigured(
    "tablePrefix must match ^[a-z_][a-z0-9_]{0,40}$: choose lower-case letters, digits and underscores.",
  );
}
