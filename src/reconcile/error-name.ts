import { EvenkeelError } from "../errors.ts";

const CODE = /^[\w.-]{1,60}$/;

/** What an error is called, without anything that it says: nobody knows what that tells. */
export function errorName(error: unknown): string {
  return guarded(() => (error instanceof Error ? error.name : typeof error));
}

/** Its code, where it has one, else what it is called. */
export function errorCode(error: unknown): string {
  return guarded(() => (error instanceof Error && "code" in error ? error.code : undefined), errorName(error));
}

/** What it says, where it is ours, else what it is called. */
export function errorText(error: unknown): string {
  try {
    if (error instanceof EvenkeelError) return error.message;
  } catch {
    // Asking what it is may throw, too.
  }
  return errorName(error);
}

/** Reading what was thrown may itself throw. */
function guarded(read: () => unknown, otherwise = "unknown"): string {
  try {
    const text = read();
    return typeof text === "string" && CODE.test(text) ? text : otherwise;
  } catch {
    return otherwise;
  }
}
