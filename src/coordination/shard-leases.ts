import type { LeaseView } from "../store.ts";
import { storeOperation } from "../store-operation.ts";
import { divisionLeaseOf, holderText, memberLeaseName, membersPrefix, shardsPrefix } from "./division-lease.ts";
import { HeldLease } from "./held-lease.ts";
import type { ShardSettings } from "./shard-settings.ts";
import { type SparedLeases, sparedLeases } from "./spared-leases.ts";

/** Somebody who divides keys, as the holder of a lease says. */
export interface Divider {
  readonly id: string;
  /** How many shards it believes there are. */
  readonly shards: number;
}

/** Who takes part in a division. */
export interface ShardMember extends Divider {
  readonly weight: number;
}

/** Renewals come three in a deadline, and are spread so that those of many shards don't come at once. */
const RENEWALS_A_DEADLINE = 3;
const SPREAD = 0.25;

/**
 * The leases of a division in the store: one a member, held as `1 of 256`, which is its weight and how many shards it believes there are,
 * and one a shard, held as `node-1 of 256`.
 */
export class ShardLeases {
  readonly #settings: ShardSettings;
  readonly #store: SparedLeases;
  readonly #shards = new Map<number, HeldLease>();

  constructor(settings: ShardSettings) {
    this.#settings = settings;
    this.#store = sparedLeases(settings.store.leases, settings.clock);
  }

  /** Our own membership. */
  membership(): HeldLease {
    const { name, member, weight, shards, retryPeriodMs } = this.#settings;
    return this.#lease(memberLeaseName(name, member), holderText(weight, shards), retryPeriodMs);
  }

  /** A shard's; the same object every time, since it remembers an acquisition whose answer was lost. */
  ofShard(shard: number): HeldLease {
    const known = this.#shards.get(shard);
    if (known !== undefined) return known;
    const { name, renewDeadlineMs, random } = this.#settings;
    const intervalMs = (renewDeadlineMs / RENEWALS_A_DEADLINE) * (1 - SPREAD * random.float());
    const lease = this.#lease(`${shardsPrefix(name)}${shard}`, this.#holder, intervalMs);
    this.#shards.set(shard, lease);
    return lease;
  }

  /** The members that live. */
  async members(): Promise<ShardMember[]> {
    return (await this.#list(membersPrefix(this.#settings.name))).flatMap((lease) => {
      const told = divisionLeaseOf(lease);
      // Not one of ours; a shard that it should hold all the same is protected by its own lease.
      if (told?.kind !== "member") return [];
      return [{ id: told.member, weight: told.weight, shards: told.shards }];
    });
  }

  /** Whoever holds a shard, also when it has left and only waits for what runs. */
  async holders(): Promise<Divider[]> {
    return (await this.#list(shardsPrefix(this.#settings.name))).flatMap((lease) => {
      const told = divisionLeaseOf(lease);
      return told?.kind === "shard" ? [{ id: told.holder, shards: told.shards }] : [];
    });
  }

  /** The shards that can't be got now, since their leases have not lapsed, and how long they last without a renewal, in milliseconds. */
  async taken(): Promise<Map<number, number>> {
    const prefix = shardsPrefix(this.#settings.name);
    const leases = await this.#list(prefix);
    const taken = leases.map((lease) => ({ ...lease, shard: Number(lease.name.slice(prefix.length)) }));
    const others = taken.filter(({ shard, holder }) => !this.#mayBeOurs(shard, holder));
    return new Map(others.map(({ shard, remainingMs }) => [shard, remainingMs]));
  }

  /** A request that was thought lost may have got it; asking once more tells. */
  #mayBeOurs(shard: number, holder: string): boolean {
    return holder === this.#holder && this.#shards.get(shard)?.isAskedFor === true;
  }

  get #holder(): string {
    return holderText(this.#settings.member, this.#settings.shards);
  }

  #list(prefix: string): Promise<LeaseView[]> {
    const { clock, random, callBudgetMs } = this.#settings;
    return storeOperation({ clock, random, budgetMs: callBudgetMs, send: (call) => this.#store.list(prefix, call) });
  }

  #lease(name: string, identity: string, renewIntervalMs: number): HeldLease {
    const { leaseDurationMs, renewDeadlineMs, retryPeriodMs, callBudgetMs, clock, random } = this.#settings;
    const times = { leaseDurationMs, renewDeadlineMs, renewIntervalMs, retryPeriodMs, callBudgetMs };
    return new HeldLease({ store: { leases: this.#store }, name, identity, ...times, clock, random });
  }
}
