import { type Clock, systemClock } from "../clock.ts";
import type { EventListener } from "../events.ts";
import { invalidOptions, type OptionRules, rules } from "../option-rules.ts";
import { optionsSchema, parseOptions } from "../options.ts";
import { type Random, systemRandom } from "../random.ts";
import { resourceStore } from "../resources/ledger-rules.ts";
import type { ActionContext, CreateResult, DesiredResource, ResourceRecord } from "../resources/resource.ts";
import type { LedgerStore } from "../store.ts";
import { MAX_UNAVAILABLE, type MaxUnavailable } from "./disruption-budget.ts";
import { type ClosedShards, closedLeader, closedShards, type LeaderGate, type ShardGate } from "./gates.ts";
import { type MassGuardOptions, type MassGuardSettings, massGuardSettings } from "./mass-guard.ts";
import type { Desired, Observation, ObservedResource, PassContext } from "./observation.ts";
import { fixedThreshold, type StalenessPolicy } from "./staleness.ts";
import type { SurplusOrder } from "./surplus.ts";

export type { LeaderGate, ShardGate } from "./gates.ts";

type Awaitable<T> = T | Promise<T>;

/** Options of a {@link Reconciler}. */
export interface ReconcilerOptions<Spec = unknown> {
  /** The group of the ledger that it reconciles; also the first part of the ids of a desired number. */
  readonly name: string;
  readonly store: LedgerStore;
  /**
   * What is desired. A throw or a timeout is unknown, and nothing is done then; a `RetryAfter` says when it is asked again. Its answer is kept in the ledger, so that others see it.
   * Defaults to what `setDesired()` stored.
   */
  readonly desired?:
    | ((ctx: PassContext) => Awaitable<number | Iterable<DesiredResource<Spec>> | Desired<Spec>>)
    | undefined;
  /**
   * What there is. A throw or a timeout is unknown, and nothing is done then; a `RetryAfter` says when it is asked again. Defaults to the
   * ledger's own rows.
   */
  readonly observe?: ((ctx: PassContext) => Awaitable<Iterable<ObservedResource> | Observation>) | undefined;
  /**
   * Makes a resource. May be called again with the same `ctx.idempotencyKey` when it is not known what came of the call before. Throws
   * `RetryAfter` or `TerminalError` where it knows better than a backoff.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: a function that returns nothing is as welcome.
  create(resource: ResourceRecord<Spec>, ctx: ActionContext): Promise<CreateResult | void>;
  /** Ends a resource gracefully. Throws `NotFound` where there is none. May be called again with the same key. */
  terminate(resource: ResourceRecord<Spec>, ctx: ActionContext): Promise<void>;
  /** Ends a resource that is still there after `terminateGraceMs`. Defaults to `terminate`, again. */
  readonly forceTerminate?: ReconcilerOptions<Spec>["terminate"] | undefined;
  /** Brings a resource's spec up to date in place. Without it the resource is replaced. */
  readonly update?: ReconcilerOptions<Spec>["terminate"] | undefined;
  /** When a resource counts as having fallen silent. Defaults to `fixedThreshold({ staleAfterMs: 30_000 })`. */
  readonly staleness?: StalenessPolicy | undefined;
  /** Slows or holds replacements when many fall silent at once. Defaults to on, from 10 rows. */
  readonly massGuard?: false | MassGuardOptions | undefined;
  /** Whether a replacement is made before the old one is removed, or only once that is known to be gone. Defaults to `"replaceFirst"`. */
  readonly replacement?: "replaceFirst" | "fenceFirst" | undefined;
  /** Which of several surplus resources goes first. Defaults to the order of `docs/reconciler.md`. */
  readonly surplus?: SurplusOrder<Spec> | undefined;
  /** How many may be unavailable because of updates and voluntary replacements: a number or a percentage. Defaults to `"10%"`, at least 1. */
  readonly maxUnavailable?: MaxUnavailable | undefined;
  /** Believes an answer of `desired` or `observe` that is empty at once, however much it would touch. Defaults to false. */
  readonly allowEmpty?: boolean | undefined;
  /** The longest time between two passes of the loop, in milliseconds. Defaults to 30,000. */
  readonly resyncIntervalMs?: number | undefined;
  /** How many callbacks run at a time. Defaults to 10. */
  readonly concurrency?: number | undefined;
  /**
   * How many actions one pass takes; the rest is held by `budget`, and left to the next pass. Those that nobody is called for count,
   * too. Defaults to 500.
   */
  readonly maxActionsPerPass?: number | undefined;
  /**
   * How long a resource may take to end before it is forced to, in milliseconds. With 0 it is forced at once: where there is a
   * `forceTerminate`, that is called instead of `terminate`. Defaults to 30,000.
   */
  readonly terminateGraceMs?: number | undefined;
  /** How long one callback may take, in milliseconds; also the lease of whoever acts on a row. Defaults to 30,000. */
  readonly actionTimeoutMs?: number | undefined;
  /** How long after it was made a resource may be missing in an own `observe`, in milliseconds. Defaults to 30,000. */
  readonly observeGraceMs?: number | undefined;
  /** How long one store operation may take, its repetitions included, in milliseconds. Not over `actionTimeoutMs`. Defaults to 5,000, or to that. */
  readonly storeTimeoutMs?: number | undefined;
  /** Only the leader acts. Defaults to everybody. */
  readonly leader?: LeaderGate | undefined;
  /** Only the slots that it owns are acted on. Defaults to all. */
  readonly shards?: ShardGate | undefined;
  /** Defaults to the machine's clock. */
  readonly clock?: Clock | undefined;
  /** Defaults to the machine's randomness. */
  readonly random?: Random | undefined;
  /** Gets every event. Defaults to none. */
  readonly onEvent?: EventListener | undefined;
}

type Optional = "desired" | "observe" | "forceTerminate" | "update" | "surplus" | "leader" | "shards" | "onEvent";

/** {@link ReconcilerOptions} with every default in place. */
export type ReconcilerSettings<Spec> = Readonly<
  {
    [Name in Exclude<keyof ReconcilerOptions<Spec>, Optional | "massGuard">]-?: NonNullable<
      ReconcilerOptions<Spec>[Name]
    >;
  } & {
    [Name in Exclude<Optional, "shards">]: ReconcilerOptions<Spec>[Name] | undefined;
  } & { shards: ClosedShards | undefined } & { massGuard: MassGuardSettings | false; staleAfterMs: number }
>;

const gracePeriod = rules.custom(
  "a whole number of milliseconds that is not negative",
  (value) => Number.isSafeInteger(value) && (value as number) >= 0,
);

/** Its signal is another one with each leadership, and its epoch need not be there yet. */
const leaderGate = rules.custom("a LeaderGate, with isLeader(), epoch and signal", (value) => {
  if (typeof value !== "object" || value === null) return false;
  const { isLeader, signal } = value as Partial<LeaderGate>;
  return typeof isLeader === "function" && "epoch" in value && rules.signal.test(signal);
});

function gate(says: string, ...names: readonly string[]) {
  return rules.custom(says, (value) => {
    if (typeof value !== "object" || value === null) return false;
    return names.every((name) => typeof (value as Record<string, unknown>)[name] === "function");
  });
}

const RULES: OptionRules = {
  name: rules.name,
  store: resourceStore,
  desired: rules.fn,
  observe: rules.fn,
  create: rules.fn,
  terminate: rules.fn,
  forceTerminate: rules.fn,
  update: rules.fn,
  staleness: gate("an object with assess()", "assess"),
  massGuard: rules.custom("false or an object of options", (value) => value === false || typeof value === "object"),
  replacement: rules.oneOf("replaceFirst", "fenceFirst"),
  surplus: rules.fn,
  maxUnavailable: MAX_UNAVAILABLE,
  allowEmpty: rules.flag,
  resyncIntervalMs: rules.durationMs,
  concurrency: rules.count,
  maxActionsPerPass: rules.count,
  terminateGraceMs: gracePeriod,
  actionTimeoutMs: rules.durationMs,
  observeGraceMs: gracePeriod,
  storeTimeoutMs: rules.durationMs,
  leader: leaderGate,
  shards: gate("a ShardGate", "owns", "epochOf"),
  clock: rules.clock,
  random: rules.random,
  onEvent: rules.fn,
};
const SCHEMA = optionsSchema(RULES, ["name", "store", "create", "terminate"]);

/**
 * Checks the options and fills the defaults in.
 * @throws EvenkeelError `INVALID_OPTIONS` that names the option.
 */
export function reconcilerSettings<Spec>(options: ReconcilerOptions<Spec>): ReconcilerSettings<Spec> {
  parseOptions("Reconciler", SCHEMA, options);
  const staleness = options.staleness ?? fixedThreshold({ staleAfterMs: 30_000 });
  const { quietMs, graceMs } = staleness;
  for (const [name, ms] of Object.entries({ quietMs, graceMs })) {
    if (ms !== undefined && !rules.durationMs.test(ms))
      throw invalidOptions("Reconciler", `staleness.${name} must be ${rules.durationMs.says}`);
  }
  const actionTimeoutMs = options.actionTimeoutMs ?? 30_000;
  const storeTimeoutMs = options.storeTimeoutMs ?? Math.min(5_000, actionTimeoutMs);
  if (storeTimeoutMs > actionTimeoutMs)
    throw invalidOptions(
      "Reconciler",
      "storeTimeoutMs must not be over actionTimeoutMs: a lease would lapse while it is asked for",
    );
  return Object.freeze({
    name: options.name,
    store: options.store,
    // Bound, so that options may be an instance of a class; now, so that nothing changes afterwards.
    desired: options.desired?.bind(options),
    observe: options.observe?.bind(options),
    create: options.create.bind(options),
    terminate: options.terminate.bind(options),
    forceTerminate: options.forceTerminate?.bind(options),
    update: options.update?.bind(options),
    staleness,
    staleAfterMs: graceMs ?? quietMs ?? 30_000,
    massGuard: massGuardSettings(options.massGuard),
    replacement: options.replacement ?? "replaceFirst",
    surplus: options.surplus?.bind(options),
    maxUnavailable: options.maxUnavailable ?? "10%",
    allowEmpty: options.allowEmpty ?? false,
    resyncIntervalMs: options.resyncIntervalMs ?? 30_000,
    concurrency: options.concurrency ?? 10,
    maxActionsPerPass: options.maxActionsPerPass ?? 500,
    terminateGraceMs: options.terminateGraceMs ?? 30_000,
    actionTimeoutMs,
    observeGraceMs: options.observeGraceMs ?? 30_000,
    storeTimeoutMs,
    leader: options.leader && closedLeader(options.leader),
    shards: options.shards && closedShards(options.shards),
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
    onEvent: options.onEvent?.bind(options),
  });
}
