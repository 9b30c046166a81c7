import { parseArgs } from "node:util";
import type { OpenStoreOptions } from "../open/open-store.ts";
import type { Command } from "./command.ts";
import { duration, flag, type OptionSpecs, type OptionValues, text } from "./option-spec.ts";
import { UsageError } from "./usage-error.ts";

/** The options that every command takes. */
export const COMMON = {
  store: text("URL", "the ledger: sqlite:FILE, redis://… or postgres://…. Defaults to EVENKEEL_STORE"),
  prefix: text("PREFIX", "tablePrefix or keyPrefix of the ledger. Defaults to the library's"),
  timeout: duration("how long one operation of the ledger may take", "5s", "1ms"),
  json: flag("print JSON for programs"),
  help: flag("print this"),
} as const;

/** With what the ledger is opened: it has to be there. */
export function openingOptions({ prefix, timeout }: OptionValues<typeof COMMON>): OpenStoreOptions {
  return { ledger: "existing", timeoutMs: timeout, ...(prefix === undefined ? {} : { prefix }) };
}

/** What was asked for. */
export interface Invocation {
  readonly command: Command;
  readonly argument: string | undefined;
  readonly common: OptionValues<typeof COMMON>;
  readonly options: OptionValues<OptionSpecs>;
}

/**
 * Finds the command and reads its options. The command's words come first.
 * @throws UsageError for an unknown command, an unknown option, a word too many or too few, or a value that can't be read.
 */
export function readArguments(argv: readonly string[], commands: readonly Command[]): Invocation {
  const command = findCommand(argv, commands);
  const words = command.name.split(" ").length;
  const specs: OptionSpecs = { ...COMMON, ...command.options };
  const { values, positionals } = parse(argv.slice(words), specs, command);
  const common = readAll(COMMON, values);
  if (common.help) return { command, argument: undefined, common, options: {} };
  const [argument, ...others] = positionals;
  if (command.argument === undefined ? positionals.length > 0 : others.length > 0) {
    throw new UsageError(`${command.name}: there is a word too many${see(command)}`);
  }
  if (command.argument?.required === "required" && argument === undefined) {
    throw new UsageError(`${command.name}: ${command.argument.name} is missing${see(command)}`);
  }
  return { command, argument, common, options: readAll(command.options, values) };
}

/** The commands that begin with one word, where its help is asked for: `executions --help`, `help executions`. Otherwise none. */
export function familyAsked(argv: readonly string[], commands: readonly Command[]): readonly Command[] {
  const [first, second, ...others] = argv;
  const word = first === "help" ? second : second === "--help" || second === "-h" ? first : undefined;
  return others.length > 0 ? [] : commands.filter(({ name }) => name.startsWith(`${word} `));
}

function findCommand(argv: readonly string[], commands: readonly Command[]): Command {
  const first = argv.findIndex((word) => word.startsWith("-"));
  const words = first === -1 ? argv : argv.slice(0, first);
  const found = commands.find(({ name }) => name.split(" ").every((word, at) => words[at] === word));
  if (found !== undefined) return found;
  const siblings = commands.filter(({ name }) => name.startsWith(`${words[0]} `)).map(({ name }) => name);
  if (siblings.length > 0) throw new UsageError(`say ${siblings.join(", ")}; see evenkeel --help`);
  const [word = ""] = words;
  // Anything else may be a URL, with a password in it.
  if (/^[\w-]+$/.test(word)) throw new UsageError(`there is no command ${word}; see evenkeel --help`);
  if (words.length > 0) throw new UsageError("the first word is no command; see evenkeel --help");
  throw new UsageError("the command comes before its options; see evenkeel --help");
}

function parse(argv: readonly string[], specs: OptionSpecs, command: Command) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: Object.fromEntries(
        Object.entries(specs).map(([name, { takes }]) => [
          name,
          {
            ...(takes === undefined ? { type: "boolean" as const } : { type: "string" as const }),
            ...(name === "help" ? { short: "h" } : {}),
          },
        ]),
      ),
    });
  } catch (error) {
    const { message } = error as Error;
    const [, option] = /^Option '(--[a-z-]+)[^']*' argument is ambiguous/.exec(message) ?? [];
    // Its later sentences explain the parser.
    const [first = ""] = message.split(/\. |\.?\n/, 1);
    const what =
      option === undefined
        ? `${first.charAt(0).toLowerCase()}${first.slice(1)}`
        : `a value that begins with a dash is said as ${option}=VALUE`;
    throw new UsageError(`${command.name}: ${what}${see(command)}`);
  }
}

function see(command: Command): string {
  return `; see evenkeel ${command.name} --help`;
}

function readAll<Specs extends OptionSpecs>(
  specs: Specs,
  values: Readonly<Record<string, string | boolean | undefined>>,
): OptionValues<Specs> {
  const read = Object.entries(specs).map(([name, spec]) => {
    const given = values[name];
    return [name, spec.read(given === true ? "" : given === false ? undefined : given, name)] as const;
  });
  return Object.fromEntries(read) as OptionValues<Specs>;
}
