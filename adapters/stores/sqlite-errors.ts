import { EvenkeelError, isEvenkeelError } from "../../src/errors.ts";
import { isBusy, misconfiguration } from "./sqlite-handle.ts";

/** An engine's error as the contract has it. */
export function asStoreError(cause: unknown): EvenkeelError {
  if (isEvenkeelError(cause)) return cause;
  const what = isBusy(cause) ? "is locked" : "failed";
  return misconfiguration(cause) ?? new EvenkeelError("STORE_UNAVAILABLE", `The SQLite database ${what}.`, { cause });
}

/** Somebody else had the lock for too long. */
export function lockedError(): EvenkeelError {
  return new EvenkeelError(
    "STORE_UNAVAILABLE",
    "The SQLite database was not written in time: it was locked, or the process held up.",
  );
}

/** The store was closed. */
export function closedError(): EvenkeelError {
  return new EvenkeelError("STORE_UNAVAILABLE", "The SQLite store is closed.");
}
