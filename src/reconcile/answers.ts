import type { Clock } from "../clock.ts";
import { invalidOptions, rules } from "../option-rules.ts";
import { dropRejection } from "../rejections.ts";
import { acceptDesired, type DesiredSet } from "../resources/desired-text.ts";
import { turnTaker } from "../resources/in-turns.ts";
import { bounded } from "./bounded.ts";
import type { ObservedResource, PassContext } from "./observation.ts";
import type { ReconcilerSettings } from "./settings.ts";
import { identityOf } from "./sight.ts";

/** What a callback answered, if it is known: a throw, a timeout and rubbish are not. */
export type Answer<T> =
  | { readonly kind: "complete" | "partial"; readonly value: T }
  | { readonly kind: "unknown"; readonly error: unknown };

/** As many resources as one observation may hold. */
const MOST_OBSERVED = 2_000_000;

const ITEM_FIELDS = {
  externalId: rules.custom("a text that is not empty", (value) => typeof value === "string" && value !== ""),
  incarnation: rules.count,
  lastHeartbeatAt: rules.custom("epoch milliseconds", (value) => Number.isFinite(value) && (value as number) >= 0),
  healthy: rules.flag,
} as const;
const ITEM_RULES = Object.entries(ITEM_FIELDS);

/** Asks the user's `observe`. */
export function askObserved<Spec>(
  { observe, clock, actionTimeoutMs }: ReconcilerSettings<Spec>,
  context: PassContext,
): Promise<Answer<readonly ObservedResource[]>> {
  return answered(clock, actionTimeoutMs, context, async (ctx) => {
    const answer: unknown = await observe?.(ctx);
    const { complete, items } = envelope("observe", "items", answer);
    return { complete, value: await acceptItems(items, ctx.signal) };
  });
}

/** Asks the user's `desired`. */
export function askDesired<Spec>(
  { desired, clock, actionTimeoutMs, name }: ReconcilerSettings<Spec>,
  context: PassContext,
): Promise<Answer<DesiredSet>> {
  return answered(clock, actionTimeoutMs, context, async (ctx) => {
    const answer: unknown = await desired?.(ctx);
    if (typeof answer === "number") return { complete: true, value: await acceptDesired("desired", name, answer) };
    const { complete, items } = envelope("desired", "resources", answer);
    return { complete, value: await acceptDesired("desired", name, items, ctx.signal) };
  });
}

/** A bare iterable is complete. */
function envelope(
  owner: string,
  name: string,
  answer: unknown,
): { readonly complete: boolean; readonly items: Iterable<unknown> } {
  if (isIterable(answer)) return { complete: true, items: withoutRejections(answer) };
  const { complete, [name]: items } = (answer ?? {}) as Record<string, unknown>;
  if (typeof complete !== "boolean" || !isIterable(items))
    throw invalidOptions(owner, `it must answer an iterable, or { complete: true or false, ${name}: an iterable }`);
  return { complete, items: withoutRejections(items) };
}

/** A list of promises is refused, at the first of them; the others must not end the process. */
function withoutRejections(items: Iterable<unknown>): Iterable<unknown> {
  if (Array.isArray(items) || items instanceof Set) for (const item of items) dropRejection(item);
  return items;
}

function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === "object" && value !== null && Symbol.iterator in value;
}

/** @param signal - ends it, because an iterable may never end itself. */
async function acceptItems(given: Iterable<unknown>, signal: AbortSignal): Promise<readonly ObservedResource[]> {
  const turns = turnTaker();
  const items: ObservedResource[] = [];
  const seen = new Set<string>();
  for (const item of given) {
    if (items.length >= MOST_OBSERVED)
      throw invalidOptions("observe", "it may not answer more than 2,000,000 resources");
    const accepted = acceptItem(item, items.length);
    const identity = `${identityOf(accepted)}\n${accepted.id}`;
    if (seen.has(identity)) throw invalidOptions("observe", `the resource "${accepted.id}" comes twice`);
    seen.add(identity);
    items.push(accepted);
    if (!turns.isDue()) continue;
    await turns.turn();
    signal.throwIfAborted();
  }
  return items;
}

function acceptItem(item: unknown, position: number): ObservedResource {
  if (typeof item !== "object" || item === null)
    throw invalidOptions("observe", `the item at ${position} must be an object with an id`);
  const given = item as Record<string, unknown>;
  const { id } = given;
  if (!rules.name.test(id))
    throw invalidOptions("observe", `the id of the item at ${position} must be ${rules.name.says}`);
  const accepted: Record<string, unknown> = { id };
  for (const [name, rule] of ITEM_RULES) {
    const value = given[name];
    // `null` is how many APIs say that there is none.
    if (value === undefined || value === null) continue;
    if (!rule.test(value)) throw invalidOptions("observe", `the ${name} of "${String(id)}" must be ${rule.says}`);
    accepted[name] = value;
  }
  return accepted as unknown as ObservedResource;
}

/** Bounds a question in time; what comes after that, or fails, is not heard. */
async function answered<T>(
  clock: Clock,
  timeoutMs: number,
  { signal: ends, ...context }: PassContext,
  ask: (ctx: PassContext) => Promise<{ readonly complete: boolean; readonly value: T }>,
): Promise<Answer<T>> {
  const bounds = { clock, timeoutMs, timeoutMessage: `No answer within ${timeoutMs} ms.`, ends: [ends] };
  const result = await bounded(bounds, (signal) => ask({ ...context, signal }));
  if (result.status !== "returned") return { kind: "unknown", error: result.error };
  const { complete, value } = result.value;
  return { kind: complete ? "complete" : "partial", value };
}
