import { EvenkeelError, isEvenkeelError } from "../../src/errors.ts";
import { invalidOptions } from "../../src/option-rules.ts";

/** The five characters by which PostgreSQL says what went wrong (postgresql.org/docs/current/errcodes-appendix.html). */
export function sqlState(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { code?: unknown };
  // Node's own errors have codes too (EPIPE), which have no digit in front of them but the same length.
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) && "severity" in (error as object) ? code : undefined;
}

/** What ends a session: it was terminated, timed out, or never began. The severity would say so in the server's language. */
const ENDS_SESSION = /^(08...|XX...|57P0[1-5]|53300|25P0[34]|28...)$/;

/**
 * Whether the connection lives on after the error, with no transaction of ours open on it. One that takes no writes is of no
 * use: a new one may lead to the server that is the primary now.
 */
export function leavesConnectionUsable(error: unknown): boolean {
  const state = sqlState(error);
  return state !== undefined && !ENDS_SESSION.test(state) && !isReadOnly(error);
}

/** The server is a standby, or the session takes no writes. */
export function isReadOnly(error: unknown): boolean {
  return sqlState(error) === "25006";
}

/** Two transactions met, and ours was rolled back, or waited too long for a lock: the same statement again may do. */
export function isRolledBackByOthers(error: unknown): boolean {
  const state = sqlState(error);
  return state === "40001" || state === "40P01" || state === "55P03";
}

/** The user may not do it. */
export function isDenied(error: unknown): boolean {
  return sqlState(error) === "42501";
}

/** The ledger's tables or functions, or their schema, are not there. */
export function isUndefinedObject(error: unknown): boolean {
  const state = sqlState(error);
  return state === "42P01" || state === "42883" || state === "3F000";
}

export function misconfigured(what: string, options?: ErrorOptions): EvenkeelError {
  return new EvenkeelError("STORE_MISCONFIGURED", `postgresStore: ${what}`, options);
}

export function closedError(): EvenkeelError {
  return new EvenkeelError("STORE_UNAVAILABLE", "The PostgreSQL store is closed.");
}

/** The user has ended the pool: no call can go better than this one. */
export function poolClosedError(): EvenkeelError {
  return new EvenkeelError("STORE_UNAVAILABLE", "postgresStore: the pool is closed.");
}

/** Whether the statement was carried out is unknown. */
export function unavailable(cause: unknown): EvenkeelError {
  return new EvenkeelError("STORE_UNAVAILABLE", "PostgreSQL failed, or did not answer in time.", { cause });
}

/** A driver's error as the contract has it. Never with the message of the cause, which may quote what was stored. */
export function asStoreError(cause: unknown): EvenkeelError {
  if (isEvenkeelError(cause)) return cause;
  return misconfiguration(cause) ?? unusableAddress(cause) ?? unstorable(cause) ?? unavailable(cause);
}

/** A failure to find or make the ledger, as the contract has it. */
export function asSetUpError(cause: unknown): EvenkeelError {
  return NAME_IS_TAKEN.has(sqlState(cause) ?? "")
    ? misconfigured("tables or functions that are not a ledger's have its names: choose another tablePrefix.", {
        cause,
      })
    : asStoreError(cause);
}

/** Of a table, column, object, function; a wrong kind of object. */
const NAME_IS_TAKEN: ReadonlySet<string> = new Set(["42P07", "42703", "42710", "42723", "42809"]);

/** What `pg` says of an address before it uses it. Without the cause, which may quote the address. */
function unusableAddress(cause: unknown): EvenkeelError | undefined {
  const { code, syscall } = (cause ?? {}) as { code?: unknown; syscall?: unknown };
  if (code === "ERR_INVALID_URL" || code === "ERR_SOCKET_BAD_PORT") {
    return misconfigured("the address can't be understood: check the URL, and its port.");
  }
  if (syscall !== "open") return undefined;
  return misconfigured("a file that the address names (sslrootcert, sslcert, sslkey) can't be read.");
}

/** What the server can hold for nobody. */
function unstorable(cause: unknown): EvenkeelError | undefined {
  switch (sqlState(cause)) {
    case "54000":
      return invalidOptions("postgresStore", "a name, id, group or operation is too long to be indexed");
    case "22P05":
      return invalidOptions("postgresStore", "a text holds a character that the database can't hold");
    default:
      return undefined;
  }
}

/** What stays wrong until somebody changes something, as the error that says what. */
function misconfiguration(cause: unknown): EvenkeelError | undefined {
  switch (sqlState(cause)) {
    case "28000":
    case "28P01":
      return misconfigured("the server refused the user: check user, password and pg_hba.conf.", { cause });
    case "3D000":
      return misconfigured("the database does not exist: create it, or name another.", { cause });
    case "42501":
      return misconfigured(
        "the user lacks a privilege: let a role that may create tables call migrate(), and grant this one what docs/postgres.md lists.",
        { cause },
      );
    default:
      return undefined;
  }
}
