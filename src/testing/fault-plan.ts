import type { Clock } from "../clock.ts";
import { invalidOptions, type OptionRules, rules } from "../option-rules.ts";
import type { Random } from "../random.ts";
import { Partition } from "./partition.ts";

/** The operations of each part of a store, less those that are no round trips (`watch`, `completeInTransaction`). */
export const STORE_OPERATIONS = {
  executions: [
    "claim",
    "renew",
    "complete",
    "release",
    "recordStep",
    "seize",
    "get",
    "list",
    "recent",
    "purge",
    "countExpired",
  ],
  resources: [
    "getDesired",
    "setDesired",
    "apply",
    "heartbeat",
    "get",
    "list",
    "changedSince",
    "staleBefore",
    "purge",
    "listGroups",
  ],
  leases: ["acquire", "renew", "release", "get", "list"],
} as const;

type Operations = typeof STORE_OPERATIONS;

/** One operation of a store: `"executions.claim"`. */
export type StoreOperationName = {
  [Part in keyof Operations]: `${Part}.${Operations[Part][number]}`;
}[keyof Operations];

/** One call as a plan sees it. */
export interface FaultyCall {
  readonly operation: StoreOperationName;
  /** Which call of this operation it is, from 1. */
  readonly nth: number;
  /** The operation's first argument. */
  readonly request: unknown;
}

/**
 * What goes wrong with one call. "Carried out" says that the store did it.
 *
 * - `lostRequest`: not carried out; rejects as a lost connection does.
 * - `lostReply`: carried out; rejects as a lost connection does.
 * - `hangBefore`: not carried out; never settles.
 * - `hangAfter`: carried out; never settles.
 * - `duplicate`: carried out twice; the second answer arrives, as after a retransmission.
 * - `{ duplicateAfterMs }`: carried out and answered, and carried out once more that much later, as a straying packet is.
 * - `{ delayMs, of }`: the request or the reply (defaults to the request) takes that long.
 */
export type Fault =
  | "lostRequest"
  | "lostReply"
  | "hangBefore"
  | "hangAfter"
  | "duplicate"
  | { readonly duplicateAfterMs: number }
  | { readonly delayMs: number; readonly of?: "request" | "reply" };

/** A fault for the `nth` call of an operation, from 1; without `nth` for each of its calls. */
export interface PlannedFault {
  readonly on: StoreOperationName;
  readonly nth?: number;
  readonly fault: Fault;
}

/** How often each fault befalls a call, from 0 to 1; together at most 1. What is left out never does. */
export interface FaultRates {
  readonly lostRequest?: number;
  readonly lostReply?: number;
  readonly hangBefore?: number;
  readonly hangAfter?: number;
  readonly duplicate?: number;
  readonly delay?: number;
}

/**
 * What goes wrong between a client and its store. Of several that would speak to a call the first counts: the partition,
 * `faults` in their order, `decide`, `rates`.
 *
 * @example The reply of the first completion is lost.
 * ```ts
 * faultyStore(store, { faults: [{ on: "executions.complete", nth: 1, fault: "lostReply" }] });
 * ```
 * @example Every renewal takes a second.
 * ```ts
 * faultyStore(store, { clock, faults: [{ on: "executions.renew", fault: { delayMs: 1_000 } }] });
 * ```
 * @example A fault that depends on what is asked.
 * ```ts
 * faultyStore(store, { decide: ({ operation, nth }) => (operation.endsWith("claim") && nth % 2 ? "hangAfter" : undefined) });
 * ```
 * @example One call in ten goes wrong, the same ones for the same seed.
 * ```ts
 * faultyStore(store, { clock, random: seededRandom(7), rates: { lostRequest: 0.05, lostReply: 0.04, delay: 0.01 } });
 * ```
 */
export interface FaultPlan {
  readonly faults?: readonly PlannedFault[];
  /** Asked for each call that no planned fault is for; undefined lets it be. */
  readonly decide?: (call: FaultyCall) => Fault | undefined;
  /** Chance faults; they need `random`. */
  readonly rates?: FaultRates;
  /** The chance behind `rates`: a seeded one makes a run that can be repeated. */
  readonly random?: Random;
  /** The longest delay that `rates` draws, in milliseconds. Defaults to 1,000. */
  readonly maxDelayMs?: number;
  /** A split that the test switches. Defaults to none. */
  readonly partition?: Partition;
  /** The clock that delays are counted on. Defaults to the machine's. */
  readonly clock?: Clock;
  /** Told of each call before anything befalls it, for instance {@link CallLog.onCall}. Defaults to none. */
  readonly onCall?: (call: FaultyCall) => void;
}

const SIMPLE_FAULTS = ["lostRequest", "lostReply", "hangBefore", "hangAfter", "duplicate"] as const;
const RATE_NAMES = [...SIMPLE_FAULTS, "delay"] as const;

/** The rules of {@link FaultPlan}. */
export const FAULT_PLAN_RULES: OptionRules = {
  faults: rules.custom("a list of { on, nth, fault }", (value) => Array.isArray(value) && value.every(isPlannedFault)),
  decide: rules.fn,
  rates: rules.custom("rates from 0 to 1 by fault, together at most 1", isRates),
  random: rules.random,
  maxDelayMs: rules.durationMs,
  partition: rules.custom("a Partition", (value) => value instanceof Partition),
  clock: rules.clock,
  onCall: rules.fn,
};

/** The fault that a plan has for a call. */
export function faultFor(plan: FaultPlan, call: FaultyCall): Fault | undefined {
  const planned = plan.faults?.find(({ on, nth }) => on === call.operation && (nth === undefined || nth === call.nth));
  return planned?.fault ?? plan.decide?.(call) ?? drawn(plan);
}

function drawn({ rates, random, maxDelayMs = 1_000 }: FaultPlan): Fault | undefined {
  if (rates === undefined) return undefined;
  if (random === undefined) throw invalidOptions("faultyStore", "rates need random");
  let draw = random.float();
  for (const name of RATE_NAMES) {
    draw -= rates[name] ?? 0;
    if (draw >= 0) continue;
    if (name !== "delay") return name;
    return { delayMs: Math.ceil(random.float() * maxDelayMs), of: random.float() < 0.5 ? "request" : "reply" };
  }
  return undefined;
}

function isPlannedFault(value: unknown): boolean {
  const { on, nth, fault } = (value ?? {}) as Partial<PlannedFault>;
  const [part, operation] = String(on).split(".");
  const known: readonly string[] = STORE_OPERATIONS[part as keyof Operations] ?? [];
  return known.includes(String(operation)) && (nth === undefined || rules.count.test(nth)) && isFault(fault);
}

function isFault(value: unknown): boolean {
  if (typeof value === "string") return (SIMPLE_FAULTS as readonly string[]).includes(value);
  const { delayMs, duplicateAfterMs, of = "request" } = (value ?? {}) as Record<string, unknown>;
  return rules.durationMs.test(delayMs ?? duplicateAfterMs) && (of === "request" || of === "reply");
}

function isRates(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const entries = Object.entries(value);
  const sum = entries.reduce((total, [, rate]) => total + Number(rate), 0);
  const known: readonly string[] = RATE_NAMES;
  return sum <= 1 && entries.every(([name, rate]) => known.includes(name) && rate >= 0);
}
