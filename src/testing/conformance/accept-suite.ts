import { acceptOptions, invalidOptions, type OptionRules, rules } from "../../option-rules.ts";
import type { RecordDamage, RecordName, StoreCapabilities } from "./subject.ts";

const OWNER = "storeConformance";

const HOOKS: Readonly<Record<NonNullable<StoreCapabilities["hooks"]>[number], true>> = {
  reopen: true,
  transact: true,
  stall: true,
};

const PARTS: Readonly<Record<RecordName["part"], true>> = {
  ledger: true,
  executions: true,
  leases: true,
  resources: true,
  fences: true,
};

const DAMAGES: Readonly<Record<RecordDamage, true>> = {
  newerFormat: true,
  truncated: true,
  missingField: true,
  wrongType: true,
  swapped: true,
};

const CAPABILITIES: Readonly<Record<keyof StoreCapabilities, OptionRules[string]>> = {
  exactTime: rules.flag,
  storeKeys: rules.flag,
  watch: rules.either(rules.flag, rules.oneOf("shared")),
  purge: rules.flag,
  maxOutcomeBytes: rules.byteCount,
  hooks: rules.custom(`a list of ${wordsOf(HOOKS)}`, (value) => isListOf(HOOKS, value)),
  damages: rules.custom(
    `an object of lists, by ${wordsOf(PARTS)}, of ${wordsOf(DAMAGES)}`,
    (value) => isObject(value) && Object.entries(value).every(([part, damages]) => isDamage(part, damages)),
  ),
  corruptStays: rules.flag,
};

/**
 * Refuses what the suite can't be run with. A capability that is misspelt would be cases that nobody runs.
 * @throws EvenkeelError `INVALID_OPTIONS`.
 */
export function acceptSuite(runner: unknown, create: unknown, capabilities: unknown): void {
  const { describe, it } = (runner ?? {}) as { describe?: unknown; it?: { skip?: unknown } };
  if (!rules.fn.test(describe) || !rules.fn.test(it)) {
    throw invalidOptions(OWNER, "the runner must have the functions describe and it");
  }
  if (it?.skip !== undefined && !rules.fn.test(it.skip)) throw invalidOptions(OWNER, "it.skip must be a function");
  if (!rules.fn.test(create)) throw invalidOptions(OWNER, "create must be a function");
  acceptOptions(OWNER, CAPABILITIES, capabilities);
}

function isDamage(part: string, damages: unknown): boolean {
  return Object.hasOwn(PARTS, part) && (damages === undefined || isListOf(DAMAGES, damages));
}

function isListOf(words: object, value: unknown): boolean {
  return Array.isArray(value) && value.every((word) => typeof word === "string" && Object.hasOwn(words, word));
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function wordsOf(words: object): string {
  return Object.keys(words)
    .map((word) => `"${word}"`)
    .join(", ");
}
