import { EvenkeelError, isEvenkeelError } from "../../src/errors.ts";

/** The five characters by which PostgreSQL says what went wrong (postgresql.org/docs/current/errcodes-appendix.html). */
export function sqlState(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { code?: unknown };
  // Node's own errors have codes too (EPIPE), which have no digit in front of them but the same length.
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) && "severity" in (error as object) ? code : undefined;
}

/**
 * Whether the connection lives on after the error, with no transaction of ours open on it. One that takes no writes is of no
 * use: a new one may lead to the server that is the primary now.
 */
export function leavesConnectionUsable(error: unknown): boolean {
  const { severity } = (error ?? {}) as { severity?: unknown };
  return sqlState(error) !== undefined && severity === "ERROR" && !isReadOnly(error);
}

/** The server is a standby, or the session takes no writes. */
export function isReadOnly(error: unknown): boolean {
  return sqlState(error) === "25006";
}

/** Two transactions met, and ours was rolled back: the same statement again may do. */
export function isRolledBackByOthers(error: unknown): boolean {
  const state = sqlState(error);
  return state === "40001" || state === "40P01";
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

/** Whether the statement was carried out is unknown. */
export function unavailable(cause: unknown): EvenkeelError {
  return new EvenkeelError("STORE_UNAVAILABLE", "PostgreSQL failed, or did not answer in time.", { cause });
}

/** A driver's error as the contract has it. Never with the message of the cause, which may quote what was stored. */
export function asStoreError(cause: unknown): EvenkeelError {
  return isEvenkeelError(cause) ? cause : (misconfiguration(cause) ?? unavailable(cause));
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
