import { invalidOptions } from "../../src/option-rules.ts";

/**
 * Refuses texts that PostgreSQL can't hold, or would not give back as they were. The core lets none of them through.
 * @throws EvenkeelError `INVALID_OPTIONS`.
 */
export function assertStorable(...texts: readonly unknown[]): void {
  if (texts.some((text) => typeof text === "string" && UNSTORABLE.test(text))) {
    throw invalidOptions("postgresStore", "texts must be well-formed and without NUL");
  }
}

const UNSTORABLE = /\0|\p{Surrogate}/u;
