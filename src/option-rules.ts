import { EvenkeelError } from "./errors.ts";

/** What a value has to be, and how that is said. */
export interface OptionRule {
  test(value: unknown): boolean;
  /** Completes the sentence "<name> must be …". */
  readonly says: string;
}

/** The rules of an object's options by their names. */
export type OptionRules = Readonly<Record<string, OptionRule>>;

function rule(says: string, test: (value: unknown) => boolean): OptionRule {
  return { says, test };
}

function hasMethods(value: unknown, ...names: string[]): boolean {
  if (typeof value !== "object" || value === null) return false;
  return names.every((name) => typeof (value as Record<string, unknown>)[name] === "function");
}

/** Every kind of option that evenkeel takes, each said once: `options.ts` makes zod schemas of them. */
export const rules = {
  durationMs: rule(
    "a positive whole number of milliseconds",
    (value) => Number.isSafeInteger(value) && (value as number) > 0,
  ),
  count: rule("a positive whole number", (value) => Number.isSafeInteger(value) && (value as number) > 0),
  byteCount: rule("a positive whole number of bytes", (value) => Number.isSafeInteger(value) && (value as number) > 0),
  flag: rule("true or false", (value) => typeof value === "boolean"),
  fn: rule("a function", (value) => typeof value === "function"),
  name: rule("a well-formed text of 1 to 255 characters without control characters", isName),
  scope: rule(
    "a well-formed text of at most 1,024 characters without control characters",
    (value) => typeof value === "string" && value.length <= 1_024 && isPlainText(value),
  ),
  signal: rule("an AbortSignal", (value) => hasMethods(value, "addEventListener", "throwIfAborted")),
  clock: rule("a Clock", (value) => hasMethods(value, "now", "monotonic", "sleep", "setTimer")),
  random: rule("a Random", (value) => hasMethods(value, "bytes", "float")),
  codec: rule("a Codec", (value) => hasMethods(value, "encode", "decode")),
  store: rule("a LedgerStore", (value) => {
    const executions = (value as { executions?: unknown } | null | undefined)?.executions;
    return hasMethods(executions, "claim", "renew", "complete", "release", "recordStep", "get");
  }),
  /** One of a few words. */
  oneOf: (...words: readonly string[]) =>
    rule(words.map((word) => `"${word}"`).join(" or "), (value) => words.includes(value as string)),
  /** Either of two rules. */
  either: (a: OptionRule, b: OptionRule) => rule(`${a.says} or ${b.says}`, (value) => a.test(value) || b.test(value)),
  /** Any rule of this file's making that is too special to be shared. */
  custom: rule,
} as const;

/**
 * Refuses what an options object may not hold. `undefined` counts as left out.
 * @throws EvenkeelError `INVALID_OPTIONS`, with the name of the option and what it must be.
 */
export function acceptOptions(owner: string, known: OptionRules, given: unknown): void {
  if (typeof given !== "object" || given === null) throw invalidOptions(owner, "options must be an object");
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(known, name)) throw invalidOptions(owner, `${name} is not an option`);
    if (value !== undefined && !known[name]?.test(value))
      throw invalidOptions(owner, `${name} must be ${known[name]?.says}`);
  }
}

/** The one form of every error about options. */
export function invalidOptions(owner: string, what: string): EvenkeelError {
  return new EvenkeelError("INVALID_OPTIONS", `${owner}: ${what}.`);
}

/** Control characters: C0, DEL, C1. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
/** A surrogate without its other half: engines fold them all into one replacement character. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/** Whether a text survives every engine unchanged and can be shown to people. */
export function isPlainText(value: string): boolean {
  return !CONTROL.test(value) && !LONE_SURROGATE.test(value);
}

function isName(value: unknown): boolean {
  return typeof value === "string" && value.trim() !== "" && value.length <= 255 && isPlainText(value);
}
