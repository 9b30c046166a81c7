import { acceptKey, acceptScope, recordId } from "../../src/idempotency/key.ts";
import type { ExecutionView } from "../../src/store.ts";
import type { CommandContext } from "./command.ts";
import { text } from "./option-spec.ts";
import { UsageError } from "./usage-error.ts";

/** The options that name a record by what its callers know of it. */
export const IDENTITY = {
  operation: text("NAME", "with --key: the operation of the record, in place of ID"),
  scope: text("SCOPE", "with --key: whose key it is. Defaults to the empty scope"),
  key: text("KEY", "the key itself, which is never printed"),
} as const;

/** What finding a record needs of a command. */
export type Lookup = Pick<
  CommandContext<{ operation: string | undefined; scope: string | undefined; key: string | undefined }>,
  "argument" | "options" | "store" | "ask"
>;

const ID_DIGITS = 64;
const SHORTEST_PREFIX = 8;
/** How many ids an error names. */
const MOST_NAMED = 5;

/**
 * The record that ID names, by all of its 64 digits or by its first ones, or that operation, scope and key name; undefined
 * where there is none.
 * @throws UsageError where nothing, or more than one record, is named.
 */
export async function findExecution({ argument, options, store, ask }: Lookup): Promise<ExecutionView | undefined> {
  const id = idOf(argument, options);
  const { executions } = await store();
  if (id.length === ID_DIGITS) return ask((call) => executions.get(id, call));
  const after = before(id);
  const request = { limit: MOST_NAMED + 1, ...(after === undefined ? {} : { after }) };
  const listed = await ask((call) => executions.list(request, call));
  const found = listed.filter((view) => view.id.startsWith(id));
  if (found.length > 1) throw ambiguous(id, found);
  return found[0];
}

/** Says that there is none; by its first digits a record is found only where it can be read. */
export function noExecutionText(argument: string | undefined): string {
  return argument === undefined || argument.length === ID_DIGITS
    ? "there is no such execution"
    : `there is no such execution that can be read; only all ${ID_DIGITS} digits tell whether there is one that can't`;
}

function idOf(argument: string | undefined, { operation, scope, key }: Lookup["options"]): string {
  if (argument === undefined) {
    if (operation === undefined || key === undefined) throw new UsageError("say an ID, or --operation and --key");
    return recordId(operation, acceptScope(scope ?? ""), acceptKey(key));
  }
  if (operation !== undefined || scope !== undefined || key !== undefined) {
    throw new UsageError("say either an ID, or --operation, --scope and --key");
  }
  return acceptIdPrefix(argument, "ID");
}

/** @throws UsageError unless a text is an id or the beginning of one. */
export function acceptIdPrefix(text: string, name: string): string {
  if (!/^[0-9a-f]+$/i.test(text) || text.length < SHORTEST_PREFIX || text.length > ID_DIGITS) {
    throw new UsageError(
      `${name} must be the ${ID_DIGITS} hex digits of a record's id, or at least the first ${SHORTEST_PREFIX}`,
    );
  }
  return text.toLowerCase();
}

/** @throws UsageError unless a text is a whole id. */
export function acceptId(text: string, name: string): string {
  if (!/^[0-9a-f]{64}$/i.test(text))
    throw new UsageError(`${name} must be all ${ID_DIGITS} hex digits of a record's id`);
  return text.toLowerCase();
}

/** The id before all that begin so; undefined where there is none. */
function before(prefix: string): string | undefined {
  const first = BigInt(`0x${prefix.padEnd(ID_DIGITS, "0")}`);
  return first === 0n ? undefined : (first - 1n).toString(16).padStart(ID_DIGITS, "0");
}

function ambiguous(prefix: string, found: readonly ExecutionView[]): UsageError {
  const named = found.slice(0, MOST_NAMED).map(({ id }) => id);
  const more = found.length > MOST_NAMED ? " and others" : "";
  return new UsageError(`${prefix} is the beginning of more than one id: ${named.join(", ")}${more}`);
}
