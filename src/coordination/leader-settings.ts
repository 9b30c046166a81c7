import { type Clock, systemClock } from "../clock.ts";
import type { EventListener } from "../events.ts";
import { invalidOptions, type OptionRules, rules } from "../option-rules.ts";
import { optionsSchema, parseOptions } from "../options.ts";
import { makeNonce, type Random, systemRandom } from "../random.ts";
import type { LedgerStore } from "../store.ts";
import { DIVISIONS_PREFIX, isDivisionLeaseName } from "./division-lease.ts";
import { type LeaseTimes, leaseStore, leaseTimes } from "./lease-times.ts";

/** Options of a `LeaderElector`. */
export interface LeaderElectorOptions {
  /** Where the lease is. */
  readonly store: LedgerStore;
  /** What is led: the name of the lease. It must not begin with `shards:`. */
  readonly name: string;
  /** Who we are, for people and for `onNewLeader`. Defaults to a random text. */
  readonly identity?: string | undefined;
  /** How long the lease lasts in the store without a renewal, in milliseconds. Greater than `renewDeadlineMs`. Defaults to 15,000. */
  readonly leaseDurationMs?: number | undefined;
  /**
   * How long after the last confirmed renewal was begun the leader gives up by itself, in milliseconds. Greater than 1.2 times
   * `retryPeriodMs`. What it is shorter than the lease is for effects under way, and for clocks of different speed. Defaults to 10,000.
   */
  readonly renewDeadlineMs?: number | undefined;
  /** How often the leader renews and the others ask, in milliseconds. Defaults to 2,000. */
  readonly retryPeriodMs?: number | undefined;
  /**
   * What the leader does. It may return at once, or work until `signal` aborts; then it has to end, for until its promise settles the lease
   * is kept by a `stop()`, and this elector doesn't compete again. Should it fail, the lead is given up. Must not await `stop()`.
   * Defaults to nothing.
   */
  readonly onStartedLeading?:
    | ((lead: { readonly epoch: number; readonly signal: AbortSignal }) => void | Promise<void>)
    | undefined;
  /** Called once that has settled and the lease was given up or lost. Defaults to nothing. */
  readonly onStoppedLeading?: ((lead: { readonly epoch: number }) => void) | undefined;
  /** Called when another leader, or the same with another epoch, is seen: ourselves included. Defaults to nothing. */
  readonly onNewLeader?: ((leader: { readonly identity: string; readonly epoch: number }) => void) | undefined;
  /** Defaults to the machine's clock. */
  readonly clock?: Clock | undefined;
  /** Defaults to the machine's randomness. */
  readonly random?: Random | undefined;
  /** Gets every event. Defaults to none. */
  readonly onEvent?: EventListener | undefined;
}

type Callback = "onStartedLeading" | "onStoppedLeading" | "onNewLeader" | "onEvent";

/** {@link LeaderElectorOptions} with every default in place. */
export type LeaderSettings = Readonly<
  { [Name in Exclude<keyof LeaderElectorOptions, Callback>]-?: NonNullable<LeaderElectorOptions[Name]> } & {
    [Name in Callback]: LeaderElectorOptions[Name] | undefined;
  } & {
    /** From one renewal to the next, in milliseconds. */
    readonly renewIntervalMs: number;
  } & LeaseTimes
>;

const RULES: OptionRules = {
  store: leaseStore("acquire", "renew", "release"),
  name: rules.name,
  identity: rules.name,
  leaseDurationMs: rules.durationMs,
  renewDeadlineMs: rules.durationMs,
  retryPeriodMs: rules.durationMs,
  onStartedLeading: rules.fn,
  onStoppedLeading: rules.fn,
  onNewLeader: rules.fn,
  clock: rules.clock,
  random: rules.random,
  onEvent: rules.fn,
};

const SCHEMA = optionsSchema(RULES, ["store", "name"]);

/**
 * Holds the options against their rules, and fills in the defaults.
 * @throws EvenkeelError `INVALID_OPTIONS`
 */
export function leaderSettings(options: LeaderElectorOptions): LeaderSettings {
  parseOptions("LeaderElector", SCHEMA, options);
  if (isDivisionLeaseName(options.name))
    throw invalidOptions("LeaderElector", `name must not begin with "${DIVISIONS_PREFIX}"`);
  const { random = systemRandom } = options;
  const times = leaseTimes("LeaderElector", options);
  return Object.freeze({
    store: options.store,
    name: options.name,
    identity: options.identity ?? makeNonce(random),
    ...times,
    renewIntervalMs: times.retryPeriodMs,
    onStartedLeading: options.onStartedLeading,
    onStoppedLeading: options.onStoppedLeading,
    onNewLeader: options.onNewLeader,
    clock: options.clock ?? systemClock,
    random,
    onEvent: options.onEvent,
  });
}
