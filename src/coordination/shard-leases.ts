import type { LeaseView } from "../store.ts";
import { storeOperation } from "../store-operation.ts";
import { HeldLease } from "./held-lease.ts";
import type { ShardSettings } from "./shard-settings.ts";

/** Who takes part in a division, as its lease says. */
export interface ShardMember {
  readonly id: string;
  readonly weight: number;
  /** How many shards it believes there are. */
  readonly shards: number;
}

/** Renewals come three in a deadline, and are spread so that those of many shards don't come at once. */
const RENEWALS_A_DEADLINE = 3;
const SPREAD = 0.25;

/**
 * The leases of a division in the store: one a member, whose holder says what others have to know of it, and one a shard, whose holder
 * is a member.
 */
export class ShardLeases {
  readonly #settings: ShardSettings;
  readonly #prefix: string;
  readonly #shards = new Map<number, HeldLease>();

  constructor(settings: ShardSettings) {
    this.#settings = settings;
    // No name can look like another's, or like that of an election.
    this.#prefix = `shards:${encodeURIComponent(settings.name)}/`;
  }

  /** Our own membership. */
  membership(): HeldLease {
    const { member, weight, shards, retryPeriodMs } = this.#settings;
    return this.#lease(`${this.#prefix}members/${encodeURIComponent(member)}`, `${weight} of ${shards}`, retryPeriodMs);
  }

  /** A shard's; the same object every time, since it remembers an acquisition whose answer was lost. */
  ofShard(shard: number): HeldLease {
    const known = this.#shards.get(shard);
    if (known !== undefined) return known;
    const { member, renewDeadlineMs, random } = this.#settings;
    const intervalMs = (renewDeadlineMs / RENEWALS_A_DEADLINE) * (1 - SPREAD * random.float());
    const lease = this.#lease(`${this.#prefix}shards/${shard}`, member, intervalMs);
    this.#shards.set(shard, lease);
    return lease;
  }

  /** The members that live. */
  async members(): Promise<ShardMember[]> {
    const prefix = `${this.#prefix}members/`;
    return (await this.#list(prefix)).flatMap(({ name, holder }) => {
      const [, weight, shards] = /^(\S+) of (\d+)$/.exec(holder) ?? [];
      // Not one of ours; a shard that it should hold all the same is protected by its own lease.
      if (weight === undefined || !(Number(weight) >= 0)) return [];
      return [{ id: decodeURIComponent(name.slice(prefix.length)), weight: Number(weight), shards: Number(shards) }];
    });
  }

  /** The shards that can't be got now, since their leases have not lapsed, and how long they last without a renewal, in milliseconds. */
  async taken(): Promise<Map<number, number>> {
    const prefix = `${this.#prefix}shards/`;
    const leases = await this.#list(prefix);
    const taken = leases.map((lease) => ({ ...lease, shard: Number(lease.name.slice(prefix.length)) }));
    const others = taken.filter(({ shard, holder }) => !this.#mayBeOurs(shard, holder));
    return new Map(others.map(({ shard, remainingMs }) => [shard, remainingMs]));
  }

  /** A request that was thought lost may have got it; asking once more tells. */
  #mayBeOurs(shard: number, holder: string): boolean {
    return holder === this.#settings.member && this.#shards.get(shard)?.isAskedFor === true;
  }

  #list(prefix: string): Promise<LeaseView[]> {
    const { store, clock, random, callBudgetMs } = this.#settings;
    return storeOperation({ clock, random, budgetMs: callBudgetMs, send: (call) => store.leases.list(prefix, call) });
  }

  #lease(name: string, identity: string, renewIntervalMs: number): HeldLease {
    const { store, leaseDurationMs, renewDeadlineMs, retryPeriodMs, callBudgetMs, clock, random } = this.#settings;
    const times = { leaseDurationMs, renewDeadlineMs, renewIntervalMs, retryPeriodMs, callBudgetMs };
    return new HeldLease({ store, name, identity, ...times, clock, random });
  }
}
