import { type Clock, systemClock } from "../clock.ts";
import type { EventListener } from "../events.ts";
import { type OptionRules, rules } from "../option-rules.ts";
import { optionsSchema, parseOptions } from "../options.ts";
import { type Random, systemRandom } from "../random.ts";
import type { LedgerStore } from "../store.ts";
import { type LeaseTimes, leaseStore, leaseTimes } from "./lease-times.ts";

/** Options of a `ShardCoordinator`. */
export interface ShardCoordinatorOptions {
  /** Where the leases are. */
  readonly store: LedgerStore;
  /** What is divided. All members of a division have the same name. */
  readonly name: string;
  /**
   * Who we are. No two processes at a time are one member: the second waits until the lease of the first has lapsed. A process that
   * begins anew under the name it had gets the shards that it had.
   */
  readonly member: string;
  /** Our share, compared with that of the others. With 0 we take part and own nothing. Defaults to 1. */
  readonly weight?: number | undefined;
  /** How many shards there are: the same for all members. A member that says otherwise is kept out. At most 65,536. Defaults to 256. */
  readonly shards?: number | undefined;
  /**
   * How long a lease, of a shard or of our membership, lasts in the store without a renewal, in milliseconds: how long the shards of a
   * member that died are nobody's. Greater than `renewDeadlineMs`. Defaults to 15,000.
   */
  readonly leaseDurationMs?: number | undefined;
  /**
   * How long after the last confirmed renewal was begun a shard is given up, in milliseconds. Greater than 1.2 times `retryPeriodMs`.
   * Defaults to 10,000.
   */
  readonly renewDeadlineMs?: number | undefined;
  /** How often we look who is there and which shards are free, in milliseconds. Defaults to 2,000. */
  readonly retryPeriodMs?: number | undefined;
  /**
   * Called when a shard is ours. It may return at once, or work until `signal` aborts; until it has settled, the shard is not handed
   * over. Should it fail, the shard is given up, and asked for again. Must not await `stop()`.
   * Defaults to nothing.
   */
  readonly onAssigned?:
    | ((shard: number, epoch: number, held: { readonly signal: AbortSignal }) => void | Promise<void>)
    | undefined;
  /**
   * Called once for each `onAssigned`, after that and all that {@link ShardCoordinator.run} runs under the shard have settled, and before
   * somebody else gets it, unless it was lost. Until it has settled, the shard is not handed over. Must not await `stop()`.
   * Defaults to nothing.
   */
  readonly onRevoked?: ((shard: number) => void | Promise<void>) | undefined;
  /** Defaults to the machine's clock. */
  readonly clock?: Clock | undefined;
  /** Defaults to the machine's randomness. */
  readonly random?: Random | undefined;
  /** Gets every event. Defaults to none. */
  readonly onEvent?: EventListener | undefined;
}

type Callback = "onAssigned" | "onRevoked" | "onEvent";

/** {@link ShardCoordinatorOptions} with every default in place. */
export type ShardSettings = Readonly<
  { [Name in Exclude<keyof ShardCoordinatorOptions, Callback>]-?: NonNullable<ShardCoordinatorOptions[Name]> } & {
    [Name in Callback]: ShardCoordinatorOptions[Name] | undefined;
  } & LeaseTimes
>;

const RULES: OptionRules = {
  store: leaseStore("acquire", "renew", "release", "list"),
  name: rules.name,
  member: rules.name,
  weight: rules.custom("a finite number that is not negative", (value) => Number.isFinite(value) && Number(value) >= 0),
  shards: rules.custom(
    "a whole number from 1 to 65,536",
    (value) => Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 65_536,
  ),
  leaseDurationMs: rules.durationMs,
  renewDeadlineMs: rules.durationMs,
  retryPeriodMs: rules.durationMs,
  onAssigned: rules.fn,
  onRevoked: rules.fn,
  clock: rules.clock,
  random: rules.random,
  onEvent: rules.fn,
};

const SCHEMA = optionsSchema(RULES, ["store", "name", "member"]);

/**
 * Holds the options against their rules, and fills in the defaults.
 * @throws EvenkeelError `INVALID_OPTIONS`
 */
export function shardSettings(options: ShardCoordinatorOptions): ShardSettings {
  parseOptions("ShardCoordinator", SCHEMA, options);
  return Object.freeze({
    store: options.store,
    name: options.name,
    member: options.member,
    weight: options.weight ?? 1,
    shards: options.shards ?? 256,
    ...leaseTimes("ShardCoordinator", options),
    onAssigned: options.onAssigned,
    onRevoked: options.onRevoked,
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
    onEvent: options.onEvent,
  });
}
