import { COMMON } from "./arguments.ts";
import type { Command } from "./command.ts";
import type { OptionSpecs } from "./option-spec.ts";

/** The list of commands. */
export function overviewText(commands: readonly Command[]): string {
  const entries = commands.map((command) => [usageOf(command), command.summary] as const);
  return [
    "evenkeel <command> --store sqlite:FILE | redis://… | postgres://… [--json]",
    "",
    ...aligned(entries),
    "",
    "evenkeel <command> --help tells the options of a command. EVENKEEL_STORE may stand for --store.",
    "Exit status: 0 done, 1 a finding or nothing there, 2 bad usage or no ledger that can be read.",
  ].join("\n");
}

/** The help of one command. */
export function commandText(command: Command): string {
  const own = optionEntries(command.options);
  return [
    `evenkeel ${usageOf(command)}${own.length > 0 ? " [options]" : ""} --store URL`,
    "",
    `${command.summary.charAt(0).toUpperCase()}${command.summary.slice(1)}.`,
    ...(command.details ?? []),
    "",
    ...aligned([...own, ...optionEntries(COMMON)]),
  ].join("\n");
}

function usageOf({ name, argument }: Command): string {
  if (argument === undefined) return name;
  return `${name} ${argument.required === "required" ? argument.name : `[${argument.name}]`}`;
}

function optionEntries(specs: OptionSpecs): (readonly [string, string])[] {
  return Object.entries(specs).map(([name, { takes, says }]) => {
    return [takes === undefined ? `--${name}` : `--${name} ${takes}`, says] as const;
  });
}

function aligned(entries: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...entries.map(([left]) => left.length));
  return entries.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}
