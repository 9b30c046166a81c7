import { taggedJson } from "../codec.ts";
import { EvenkeelError } from "../errors.ts";
import { recordCorrupt } from "../execution-record.ts";
import { invalidOptions } from "../option-rules.ts";

/** The largest text of one spec, in bytes. */
export const LARGEST_SPEC_BYTES = 1_048_576;

/** Whose spec it is, for the error. */
export interface SpecOwner {
  /** Who was given the spec: `ResourceLedger.provision`. */
  readonly owner: string;
  /** The resource's. */
  readonly id: string;
}

/**
 * The text of a spec in the ledger: tagged JSON with the keys of its objects in order, so that `{ a, b }` and `{ b, a }` are
 * one text, and specs are compared by comparing texts. Maps and sets keep their own order.
 *
 * @returns `undefined` for `undefined`: no spec.
 * @throws EvenkeelError `INVALID_OPTIONS` for what tagged JSON can't say, and over {@link LARGEST_SPEC_BYTES}.
 */
export function specText(spec: unknown, { owner, id }: SpecOwner): string | undefined {
  if (spec === undefined) return undefined;
  const text = textOf(spec, owner, id);
  if (Buffer.byteLength(text) <= LARGEST_SPEC_BYTES) return text;
  throw invalidOptions(owner, `the spec of "${id}" is larger than 1 MiB`);
}

function textOf(spec: unknown, owner: string, id: string): string {
  try {
    // The keys are put in order after the codec has looked at the value: its JSON knows neither cycles nor great depths.
    return JSON.stringify(ordered(JSON.parse(new TextDecoder().decode(taggedJson.encode(spec)))));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.replace(/\.$/, "") : "its toJSON() threw";
    const message = `${owner}: the spec of "${id}" can't be stored: ${why}.`;
    throw new EvenkeelError("INVALID_OPTIONS", message, { cause });
  }
}

/**
 * The spec of a text.
 * @throws EvenkeelError `RECORD_CORRUPT`, naming the resource.
 */
export function specOf<Spec>(text: string, id: string): Spec {
  try {
    return taggedJson.decode(new TextEncoder().encode(text)) as Spec;
  } catch (cause) {
    throw recordCorrupt(`the spec of the resource "${id}" is damaged`, { cause });
  }
}

/** The same JSON with the keys of its objects in order. */
function ordered(json: unknown): unknown {
  if (typeof json !== "object" || json === null) return json;
  if (Array.isArray(json)) return json.map(ordered);
  const entries = Object.entries(json).map(([key, item]): [string, unknown] => [key, ordered(item)]);
  const [first] = entries;
  // An object without a prototype is written as a list of its entries.
  if (entries.length === 1 && first?.[0] === "$bare") return { $bare: (first[1] as [string, unknown][]).sort(byKey) };
  return Object.fromEntries(entries.sort(byKey));
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}
