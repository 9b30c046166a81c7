import { EvenkeelError } from "../errors.ts";
import { invalidOptions, type OptionRules, rules } from "../option-rules.ts";
import type { KeyedEngine, KeyedTransaction } from "./keyed-engine.ts";

const ENGINE: OptionRules = {
  name: rules.name,
  now: rules.fn,
  transact: rules.fn,
  close: rules.custom("a function or left out", (value) => value === undefined || typeof value === "function"),
};

/**
 * Refuses what is no engine. It may have more than it must: it may well be an object of the caller's own class.
 * @throws EvenkeelError `INVALID_OPTIONS`.
 */
export function acceptEngine(owner: string, engine: unknown): void {
  if (typeof engine !== "object" || engine === null) throw invalidOptions(owner, "the engine must be an object");
  for (const [name, rule] of Object.entries(ENGINE)) {
    if (rule.test((engine as Record<string, unknown>)[name])) continue;
    throw invalidOptions(owner, `the engine's ${name} must be ${rule.says}`);
  }
}

/**
 * The engine's time in whole milliseconds: records hold nothing else.
 * @throws EvenkeelError `STORE_MISCONFIGURED` for what is no moment; every lease would seem to have lapsed, or never would.
 */
export function momentOf(engine: KeyedEngine): number {
  const nowMs: unknown = engine.now();
  if (typeof nowMs === "number" && nowMs >= 0 && nowMs <= Number.MAX_SAFE_INTEGER) return Math.floor(nowMs);
  throw misconfigured(engine, "now() must answer epoch milliseconds");
}

/**
 * The engine's transaction, held to what its types say. What comes of an asynchronous one would pass for a broken record.
 * @throws EvenkeelError `STORE_MISCONFIGURED`, from its methods.
 */
export function checkedTransaction(engine: KeyedEngine, tx: KeyedTransaction): KeyedTransaction {
  return {
    get(key) {
      const stored: unknown = tx.get(key);
      if (stored === undefined || typeof stored === "string") return stored;
      throw misconfigured(engine, "get() must answer a string or undefined, and no promise of one");
    },
    set: (key, text) => tx.set(key, text),
    delete: (key) => tx.delete(key),
    keys(prefix) {
      const keys: unknown = tx.keys(prefix);
      if (typeof keys === "object" && keys !== null && Symbol.iterator in keys) return keys as Iterable<string>;
      throw misconfigured(engine, "keys() must answer an iterable, and no promise of one");
    },
  };
}

function misconfigured({ name }: KeyedEngine, what: string): EvenkeelError {
  return new EvenkeelError("STORE_MISCONFIGURED", `${name}: the engine's ${what}.`);
}
