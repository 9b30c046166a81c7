import { invalidOptions } from "../../src/option-rules.ts";

/**
 * Refuses names that could be taken for another's: in a field a NUL ends an id, and what is not well-formed becomes the same
 * replacement character on its way to the server. The core lets none of them through.
 *
 * @throws EvenkeelError `INVALID_OPTIONS`, without the name.
 */
export function assertNames(owner: string, what: string, ...names: readonly string[]): void {
  if (names.some((name) => CONFUSABLE.test(name)))
    throw invalidOptions(owner, `${what} must be well-formed and without NUL`);
}

const CONFUSABLE = /\0|\p{Surrogate}/u;
