import { recordCorrupt } from "../execution-record.ts";
import { invalidOptions, rules } from "../option-rules.ts";
import { compareCodePoints } from "../resource-record.ts";
import { sortedInTurns, turnTaker } from "./in-turns.ts";
import { isJsonList, partsOfJsonList } from "./json-list.ts";
import { specText } from "./spec-text.ts";

/** As many resources as one group may be desired to have, by number. */
export const MOST_DESIRED = 10_000_000;
/** And as many by list: each is held in memory. */
export const MOST_LISTED = 2_000_000;

/** One desired resource, its spec as the text that stands in the ledger. */
export interface DesiredEntry {
  readonly id: string;
  /** See `specText`. */
  readonly spec?: string;
  /** Absent where it is 0. */
  readonly deletionCost?: number;
}

/** What is desired of a group, checked: so many with ids made of its name, or these. */
export type DesiredSet =
  | { readonly kind: "count"; readonly count: number }
  | { readonly kind: "list"; readonly resources: readonly DesiredEntry[] };

/**
 * Checks and encodes what a user desires. An array or a set is taken as it is at the call, any other iterable is read over several
 * turns of the event loop, like specs where there are more than 1,000.
 *
 * @param owner - whom the error names: `ResourceLedger.setDesired`.
 * @param desired - a number N for the ids `<group>-0` to `<group>-<N-1>`, or an iterable of `DesiredResource`.
 * @param signal - ends the reading of an iterable, which may never end itself.
 * @throws EvenkeelError `INVALID_OPTIONS`, naming what is wrong; and what the iterable itself throws.
 */
export async function acceptDesired(
  owner: string,
  group: string,
  desired: unknown,
  signal?: AbortSignal,
): Promise<DesiredSet> {
  if (typeof desired === "number") return { kind: "count", count: acceptCount(owner, group, desired) };
  const given = await snapshotOf(owner, desired, signal);
  const turns = turnTaker();
  const ids = new Set<string>();
  const resources: DesiredEntry[] = [];
  for (const [position, resource] of given.entries()) {
    const entry = acceptEntry(owner, position, resource);
    if (ids.has(entry.id)) throw invalidOptions(owner, `the id "${entry.id}" comes twice`);
    ids.add(entry.id);
    resources.push(entry);
    if (turns.isDue()) await turns.turn();
  }
  return { kind: "list", resources };
}

function acceptCount(owner: string, group: string, count: number): number {
  if (!Number.isSafeInteger(count) || count < 0)
    throw invalidOptions(owner, "the number of desired resources must be a whole number that is not negative");
  if (count > MOST_DESIRED) throw tooMany(owner);
  // -0 is written like 0.
  if (count === 0) return 0;
  if (!rules.name.test(idAt(group, count - 1)))
    throw invalidOptions(owner, "the group's name is too long for ids made of it");
  return count;
}

async function snapshotOf(
  owner: string,
  desired: unknown,
  signal: AbortSignal | undefined,
): Promise<readonly unknown[]> {
  if (typeof desired === "string")
    throw invalidOptions(owner, "desired must not be a string, whose letters would be ids");
  const isIterable =
    typeof (desired as Partial<Iterable<unknown>> | null | undefined)?.[Symbol.iterator] === "function";
  if (!isIterable) throw invalidOptions(owner, "desired must be a number or an iterable of resources");
  const size = Array.isArray(desired) ? desired.length : desired instanceof Set ? desired.size : undefined;
  if (size !== undefined && size > MOST_LISTED) throw tooLong(owner);
  if (size !== undefined) return [...(desired as Iterable<unknown>)];
  const turns = turnTaker();
  const given: unknown[] = [];
  for (const resource of desired as Iterable<unknown>) {
    if (given.length >= MOST_LISTED) throw tooLong(owner);
    given.push(resource);
    if (!turns.isDue()) continue;
    await turns.turn();
    signal?.throwIfAborted();
  }
  return given;
}

function tooMany(owner: string) {
  return invalidOptions(owner, "more than 10,000,000 resources can't be desired of one group");
}

function tooLong(owner: string) {
  return invalidOptions(owner, "more than 2,000,000 resources can't be desired of one group by a list");
}

function acceptEntry(owner: string, position: number, resource: unknown): DesiredEntry {
  const at = `the desired resource at ${position}`;
  if (typeof resource !== "object" || resource === null || Array.isArray(resource))
    throw invalidOptions(owner, `${at} must be an object with an id`);
  for (const field of Object.keys(resource)) {
    if (field !== "id" && field !== "spec" && field !== "deletionCost")
      throw invalidOptions(owner, `${at} has an unknown field ${JSON.stringify(field)}`);
  }
  const { id, spec, deletionCost } = resource as { id?: unknown; spec?: unknown; deletionCost?: unknown };
  if (!rules.name.test(id)) throw invalidOptions(owner, `the id of ${at} must be ${rules.name.says}`);
  if (deletionCost !== undefined && !Number.isFinite(deletionCost))
    throw invalidOptions(owner, `the deletionCost of "${id}" must be a finite number`);
  return entryOf(id as string, specText(spec, { owner, id: id as string }), (deletionCost ?? 0) as number);
}

function entryOf(id: string, spec: string | undefined, deletionCost: number): DesiredEntry {
  return { id, ...(spec === undefined ? {} : { spec }), ...(deletionCost === 0 ? {} : { deletionCost }) };
}

/**
 * The text of a set in the ledger: `{"count":10}`, or a list in which each resource is its id alone, `[id, spec]` or
 * `[id, spec or null, deletionCost]`. In the order of the ids' code points, so that the same set in another order is the same
 * text, and no new generation.
 */
export async function desiredTextOf(set: DesiredSet): Promise<string> {
  if (set.kind === "count") return JSON.stringify({ count: set.count });
  const turns = turnTaker();
  const texts: string[] = [];
  const parts: string[] = [];
  for (const entry of await sortedInTurns(set.resources, (a, b) => compareCodePoints(a.id, b.id))) {
    texts.push(textOfEntry(entry));
    if (!turns.isDue()) continue;
    parts.push(texts.splice(0).join());
    await turns.turn();
  }
  if (texts.length > 0) parts.push(texts.join());
  if (parts.length === 0) return "[]";
  // One copy: what is put around a text of 100 MB afterwards is a second one, when the text is read.
  parts[0] = `[${parts[0]}`;
  parts.push(`${parts.pop()}]`);
  return parts.join();
}

function textOfEntry({ id, spec, deletionCost }: DesiredEntry): string {
  if (deletionCost !== undefined && deletionCost !== 0) return JSON.stringify([id, spec ?? null, deletionCost]);
  return JSON.stringify(spec === undefined ? id : [id, spec]);
}

/** Another text for the same set, which every version reads: the ledger takes it for a change, and a reconciler for none. */
export function otherTextOf(text: string): string {
  return text === "[]" ? JSON.stringify({ count: 0 }) : `${text.slice(0, 1)} ${text.slice(1)}`;
}

/**
 * The set of a text.
 * @throws EvenkeelError `RECORD_CORRUPT` for what {@link desiredTextOf} never wrote.
 */
export async function desiredOfText(text: string): Promise<DesiredSet> {
  try {
    if (!isJsonList(text)) return { kind: "count", count: countOf(JSON.parse(text)) };
    return { kind: "list", resources: await entriesOfText(text) };
  } catch (cause) {
    throw cause instanceof SyntaxError ? damaged({ cause }) : cause;
  }
}

async function entriesOfText(text: string): Promise<DesiredEntry[]> {
  const turns = turnTaker();
  const resources: DesiredEntry[] = [];
  let before: string | undefined;
  for (const part of partsOfJsonList(text)) {
    for (const item of part) {
      const entry = entryOfJson(item);
      // Ids in order can't come twice.
      if (before !== undefined && compareCodePoints(before, entry.id) >= 0) throw damaged();
      before = entry.id;
      resources.push(entry);
      if (turns.isDue()) await turns.turn();
    }
  }
  return resources;
}

function countOf(json: unknown): number {
  const count = (json as { count?: unknown } | null)?.count;
  if (Number.isSafeInteger(count) && (count as number) >= 0 && (count as number) <= MOST_DESIRED)
    return count as number;
  throw damaged();
}

function entryOfJson(item: unknown): DesiredEntry {
  const [id, spec = null, deletionCost = 0, ...more] = Array.isArray(item) ? (item as unknown[]) : [item];
  const isEntry = rules.name.test(id) && (spec === null || typeof spec === "string") && Number.isFinite(deletionCost);
  if (!isEntry || more.length > 0) throw damaged();
  return entryOf(id as string, (spec as string | null) ?? undefined, deletionCost as number);
}

function damaged(options?: ErrorOptions) {
  return recordCorrupt("what is desired of the group is damaged", options);
}

/** How many resources are desired. */
export function wantedCountOf(set: DesiredSet): number {
  return set.kind === "count" ? set.count : set.resources.length;
}

/** The desired resources one by one; those of a number are made as they are asked for, in the order of their numbers. */
export function* entriesOf(group: string, set: DesiredSet): Iterable<DesiredEntry> {
  if (set.kind === "list") return yield* set.resources;
  for (let index = 0; index < set.count; index += 1) yield { id: idAt(group, index) };
}

/** The id of the resource of that number, where only a number is desired. */
function idAt(group: string, index: number): string {
  return `${group}-${index}`;
}
