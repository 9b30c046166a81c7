import { type Clock, systemClock } from "../clock.ts";
import type { EventListener } from "../events.ts";
import { invalidOptions, type OptionRules, rules } from "../option-rules.ts";
import { optionsSchema, parseOptions } from "../options.ts";
import { type Random, systemRandom } from "../random.ts";
import { resourceStore } from "../resources/ledger-rules.ts";
import type { ActionContext, CreateResult, DesiredResource, ResourceRecord } from "../resources/resource.ts";
import type { LedgerStore } from "../store.ts";
import { MAX_UNAVAILABLE, type MaxUnavailable } from "./disruption-budget.ts";
import { type MassGuardOptions, type MassGuardSettings, massGuardSettings } from "./mass-guard.ts";
import type { Desired, Observation, ObservedResource, PassContext } from "./observation.ts";
import { fixedThreshold, type StalenessPolicy } from "./staleness.ts";
import type { SurplusOrder } from "./surplus.ts";

/** Says whether this process leads; a `LeaderElector` is one. */
export interface LeaderGate {
  isLeader(): boolean;
  /** Of the present leadership; what the ledger fences by. */
  readonly epoch: number | undefined;
  /** Aborted when the present leadership ends. */
  readonly signal: AbortSignal;
}

/** Says which slots are this process's; a `ShardCoordinator` is one. */
export interface ShardGate {
  owns(id: string): boolean;
  epochOf(id: string): number | undefined;
}

type Awaitable<T> = T | Promise<T>;

/** Options of a {@link Reconciler}. */
export interface ReconcilerOptions<Spec = unknown> {
  /** The group of the ledger that it reconciles; also the first part of the ids of a desired number. */
  readonly name: string;
  readonly store: LedgerStore;
  /**
   * What is desired. A throw or a timeout is unknown, and nothing is done then. Its answer is kept in the ledger, so that others see it.
   * Defaults to what `setDesired()` stored.
   */
  readonly desired?: (ctx: PassContext) => Awaitable<number | Iterable<DesiredResource<Spec>> | Desired<Spec>>;
  /** What there is. A throw or a timeout is unknown, and nothing is done then. Defaults to the ledger's own rows. */
  readonly observe?: (ctx: PassContext) => Awaitable<Iterable<ObservedResource> | Observation>;
  /**
   * Makes a resource. May be called again with the same `ctx.idempotencyKey` when it is not known what came of the call before. Throws
   * `RetryAfter` or `TerminalError` where it knows better than a backoff.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: a function that returns nothing is as welcome.
  create(resource: ResourceRecord<Spec>, ctx: ActionContext): Promise<CreateResult | void>;
  /** Ends a resource gracefully. Throws `NotFound` where there is none. May be called again with the same key. */
  terminate(resource: ResourceRecord<Spec>, ctx: ActionContext): Promise<void>;
  /** Ends a resource that is still there after `terminateGraceMs`. Defaults to `terminate`, again. */
  forceTerminate?(resource: ResourceRecord<Spec>, ctx: ActionContext): Promise<void>;
  /** Brings a resource's spec up to date in place. Without it the resource is replaced. */
  update?(resource: ResourceRecord<Spec>, ctx: ActionContext): Promise<void>;
  /** When a resource counts as having fallen silent. Defaults to `fixedThreshold({ staleAfterMs: 30_000 })`. */
  readonly staleness?: StalenessPolicy;
  /** Slows or holds replacements when many fall silent at once. Defaults to on, from 10 rows. */
  readonly massGuard?: false | MassGuardOptions;
  /** Whether a replacement is made before the old one is removed, or only once that is known to be gone. Defaults to `"replaceFirst"`. */
  readonly replacement?: "replaceFirst" | "fenceFirst";
  /** Which of several surplus resources goes first. Defaults to the order of `docs/reconciler.md`. */
  readonly surplus?: SurplusOrder<Spec>;
  /** How many may be unavailable because of updates and voluntary replacements: a number or a percentage. Defaults to `"10%"`, at least 1. */
  readonly maxUnavailable?: MaxUnavailable;
  /** Believes an answer of `desired` or `observe` that is empty at once, however much it would touch. Defaults to false. */
  readonly allowEmpty?: boolean;
  /** The longest time between two passes of the loop, in milliseconds. Defaults to 30,000. */
  readonly resyncIntervalMs?: number;
  /** How many callbacks run at a time. Defaults to 10. */
  readonly concurrency?: number;
  /** Defaults to 500. */
  readonly maxActionsPerPass?: number;
  /** How long a resource may take to end before it is forced to, in milliseconds. Defaults to 30,000. */
  readonly terminateGraceMs?: number;
  /** How long one callback may take, in milliseconds; also the lease of whoever acts on a row. Defaults to 30,000. */
  readonly actionTimeoutMs?: number;
  /** How long after it was made a resource may be missing in an own `observe`, in milliseconds. Defaults to 30,000. */
  readonly observeGraceMs?: number;
  /** How long one store operation may take, its repetitions included, in milliseconds. Not over `actionTimeoutMs`. Defaults to 5,000, or to that. */
  readonly storeTimeoutMs?: number;
  /** Only the leader acts. Defaults to everybody. */
  readonly leader?: LeaderGate;
  /** Only the slots that it owns are acted on. Defaults to all. */
  readonly shards?: ShardGate;
  /** Defaults to the machine's clock. */
  readonly clock?: Clock;
  /** Defaults to the machine's randomness. */
  readonly random?: Random;
  /** Gets every event. Defaults to none. */
  readonly onEvent?: EventListener;
}

type Optional = "desired" | "observe" | "forceTerminate" | "update" | "surplus" | "leader" | "shards" | "onEvent";

/** {@link ReconcilerOptions} with every default in place. */
export type ReconcilerSettings<Spec> = Readonly<
  Required<Omit<ReconcilerOptions<Spec>, Optional | "massGuard">> & {
    [Name in Optional]: ReconcilerOptions<Spec>[Name] | undefined;
  } & { massGuard: MassGuardSettings | false; staleAfterMs: number }
>;

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
  terminateGraceMs: rules.durationMs,
  actionTimeoutMs: rules.durationMs,
  observeGraceMs: rules.durationMs,
  storeTimeoutMs: rules.durationMs,
  leader: gate("a LeaderGate", "isLeader"),
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
    desired: options.desired,
    observe: options.observe,
    // Bound, so that options may be an instance of a class.
    create: (resource, ctx) => options.create(resource, ctx),
    terminate: (resource, ctx) => options.terminate(resource, ctx),
    forceTerminate:
      options.forceTerminate && ((resource, ctx) => options.forceTerminate?.(resource, ctx) as Promise<void>),
    update: options.update && ((resource, ctx) => options.update?.(resource, ctx) as Promise<void>),
    staleness,
    staleAfterMs: graceMs ?? quietMs ?? 30_000,
    massGuard: massGuardSettings(options.massGuard),
    replacement: options.replacement ?? "replaceFirst",
    surplus: options.surplus,
    maxUnavailable: options.maxUnavailable ?? "10%",
    allowEmpty: options.allowEmpty ?? false,
    resyncIntervalMs: options.resyncIntervalMs ?? 30_000,
    concurrency: options.concurrency ?? 10,
    maxActionsPerPass: options.maxActionsPerPass ?? 500,
    terminateGraceMs: options.terminateGraceMs ?? 30_000,
    actionTimeoutMs,
    observeGraceMs: options.observeGraceMs ?? 30_000,
    storeTimeoutMs,
    leader: options.leader,
    shards: options.shards,
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
    onEvent: options.onEvent,
  });
}
