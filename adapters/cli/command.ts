import type { Clock } from "../../src/clock.ts";
import type { Random } from "../../src/random.ts";
import type { StoreCall } from "../../src/store.ts";
import type { OpenedStore } from "../open/open-store.ts";
import type { OptionSpecs, OptionValues } from "./option-spec.ts";
import type { Output } from "./output.ts";

/** What a command runs with. */
export interface CommandContext<Values> {
  /** The options, read. */
  readonly options: Values;
  /** The word behind the command's name, where it takes one and it was given. */
  readonly argument: string | undefined;
  /** Whether a program reads: JSON and nothing else on stdout. */
  readonly json: boolean;
  readonly output: Output;
  readonly clock: Clock;
  readonly random: Random;
  /** Aborts when the command shall end; its reason may be thrown. */
  readonly signal: AbortSignal;
  /** The ledger's URL. It may hold a password: print none of it. */
  readonly url: string;
  /** `--prefix`, where given. */
  readonly prefix: string | undefined;
  /** How long one store operation may take, in milliseconds. */
  readonly timeoutMs: number;
  /**
   * Opens the ledger, which has to be there and is closed when the command is over. Asked twice it gives the same.
   * @throws EvenkeelError which says what is wrong with the ledger: leave it to whoever runs the command.
   */
  store(): Promise<OpenedStore>;
  /**
   * One store operation, repeated as `storeOperation` does: pass the bounds on to the store.
   * @throws EvenkeelError `STORE_UNAVAILABLE` after `timeoutMs`; or the signal's reason.
   */
  ask<T>(send: (call: StoreCall) => Promise<T>): Promise<T>;
  /** The same, not ended by the signal: for what must not be left half done. */
  conclude<T>(send: (call: StoreCall) => Promise<T>): Promise<T>;
}

/** A command of the command line, its types forgotten. */
export interface Command {
  /** One or two words: `doctor`, `executions list`. */
  readonly name: string;
  /** Half a sentence for the list of commands. */
  readonly summary: string;
  /** Sentences for `--help`, each a line. Defaults to none. */
  readonly details?: readonly string[];
  /** The word behind the name, as the help has it. Absent where there is none. */
  readonly argument?: { readonly name: string; readonly required: "required" | "optional" };
  readonly options: OptionSpecs;
  /** Resolves with the exit status. Throws a `UsageError` for what was asked wrongly. */
  run(context: CommandContext<OptionValues<OptionSpecs>>): Promise<number>;
}

/** A command whose `run` knows the types of its options. */
export interface CommandDefinition<Specs extends OptionSpecs> extends Omit<Command, "options" | "run"> {
  readonly options: Specs;
  run(context: CommandContext<OptionValues<Specs>>): Promise<number>;
}

/** Defines a command. */
export function command<const Specs extends OptionSpecs>(definition: CommandDefinition<Specs>): Command {
  return definition as unknown as Command;
}
