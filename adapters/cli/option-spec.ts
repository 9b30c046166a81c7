import { rules } from "../../src/option-rules.ts";
import { readDuration } from "./duration-text.ts";
import { UsageError } from "./usage-error.ts";

/** An option of a command: what it takes, and how its text becomes a value. */
export interface OptionSpec<Value> {
  /** What stands for the value in the help; absent where the option takes none. */
  readonly takes?: string;
  /** Half a sentence for the help. */
  readonly says: string;
  /**
   * The value of the option's text; `undefined` where it was not given, and `""` for one that takes nothing.
   * @throws UsageError with the option's name.
   */
  read(text: string | undefined, name: string): Value;
}

/** The options of a command by their names. */
export type OptionSpecs = Readonly<Record<string, OptionSpec<unknown>>>;

/** What a command gets of its options. */
export type OptionValues<Specs extends OptionSpecs> = {
  readonly [Name in keyof Specs]: Specs[Name] extends OptionSpec<infer Value> ? Value : never;
};

/** An option that takes nothing: given or not. */
export function flag(says: string): OptionSpec<boolean> {
  return { says, read: (text) => text !== undefined };
}

/** A text, as it is. */
export function text(takes: string, says: string): OptionSpec<string | undefined> {
  return { takes, says, read: (given) => given };
}

/** A positive whole number, where `most` is given no higher one. */
export function count(takes: string, says: string, otherwise: number, most?: number): OptionSpec<number> {
  return {
    takes,
    says: `${says}${most === undefined ? "" : `, ${most} at most`}. Defaults to ${otherwise}`,
    read: (given, name) => {
      if (given === undefined) return otherwise;
      const value = /^\d+$/.test(given) ? Number(given) : Number.NaN;
      if (!rules.count.test(value)) throw new UsageError(`--${name} must be ${rules.count.says}`);
      if (most !== undefined && value > most) throw new UsageError(`--${name} must be ${most} at most`);
      return value;
    },
  };
}

/** A duration with its unit, in milliseconds; where `least` is given no shorter one. */
export function duration(says: string, otherwise: string, least?: string): OptionSpec<number> {
  return {
    takes: "DURATION",
    says: `${says}. Defaults to ${otherwise}`,
    read: (given, name) => {
      const ms = readDuration(given ?? otherwise);
      if (ms === undefined) throw new UsageError(`--${name} must be a duration such as 500ms, 90s, 5m, 12h or 7d`);
      if (least !== undefined && ms < (readDuration(least) ?? 0))
        throw new UsageError(`--${name} must be ${least} at least`);
      return ms;
    },
  };
}

/** One of a few words. */
export function oneOf<const Word extends string>(
  takes: string,
  says: string,
  words: readonly Word[],
): OptionSpec<Word | undefined> {
  return {
    takes,
    says: `${says}: ${words.join(", ")}`,
    read: (given, name) => {
      const word = words.find((candidate) => candidate === given);
      if (given !== undefined && word === undefined)
        throw new UsageError(`--${name} must be one of ${words.join(", ")}`);
      return word;
    },
  };
}
