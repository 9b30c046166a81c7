import { digest } from "../digest.ts";
import { EvenkeelError } from "../errors.ts";
import { invalidOptions, isPlainText, rules } from "../option-rules.ts";

/** Names the layout of what is hashed; another layout gets another number, so that two never collide. */
const FORMAT = "1";
const LONGEST_KEY = 255;

/**
 * The record's name in every engine: hex SHA-256 of the length-prefixed (format, operation, scope, key). Fixed length, safe
 * as a key anywhere, and `("a:b", "c")` is not `("a", "b:c")`.
 */
export function recordId(operation: string, scope: string, key: string): string {
  return digest(FORMAT, operation, scope, key);
}

/**
 * The key that a downstream API gets: the same on every attempt, and never the client's own. One part more than a record's
 * id has, so that it can't be one.
 * @throws EvenkeelError `INVALID_OPTIONS` unless the label is a text like a scope: two ill-formed ones could be one key.
 */
export function derivedKey(id: string, label: string): string {
  if (!rules.scope.test(label)) throw invalidOptions("ctx.deriveKey", `label must be ${rules.scope.says}`);
  return digest(FORMAT, "derived", "key", id, label);
}

/** What events and logs may show of a record. */
export function keyHashOf(id: string): string {
  return id.slice(0, 16);
}

/**
 * @throws EvenkeelError `KEY_MISSING` without a key; `KEY_INVALID` unless it is 1 to 255 UTF-16 units of well-formed Unicode
 * that are not all blank and hold no control characters.
 */
export function acceptKey(key: unknown): string {
  if (key === undefined || key === null) {
    throw new EvenkeelError("KEY_MISSING", "No idempotency key: pass `key` in the options or in the call.");
  }
  if (typeof key !== "string") throw keyInvalid("must be a string");
  if (key.trim() === "") throw keyInvalid("must not be blank");
  if (key.length > LONGEST_KEY) throw keyInvalid(`must not be longer than ${LONGEST_KEY} characters`);
  if (!isPlainText(key)) throw keyInvalid("must be well-formed Unicode without control characters");
  return key;
}

/**
 * @throws EvenkeelError `KEY_INVALID` unless the scope is a text like a key; it may be empty, and be up to 1,024 long. A
 * missing scope is refused, because it would put all tenants into one.
 */
export function acceptScope(scope: unknown): string {
  if (!rules.scope.test(scope)) throw keyInvalid(`must be ${rules.scope.says}`, "The scope");
  return scope as string;
}

function keyInvalid(what: string, subject = "The idempotency key"): EvenkeelError {
  return new EvenkeelError("KEY_INVALID", `${subject} ${what}.`);
}
