import type { LeaseView } from "../store.ts";
import { storeOperation } from "../store-operation.ts";
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
  readonly #prefix: string;
  readonly #shards = new Map<number, HeldLease>();

  constructor(settings: ShardSettings) {
    this.#settings = settings;
    this.#store = sparedLeases(settings.store.leases, settings.clock);
    // No name can look like another's.
    this.#prefix = `shards:${escaped(settings.name)}/`;
  }

  /** Our own membership. */
  membership(): HeldLease {
    const { member, weight, shards, retryPeriodMs } = this.#settings;
    return this.#lease(`${this.#prefix}members/${escaped(member)}`, `${weight} of ${shards}`, retryPeriodMs);
  }

  /** A shard's; the same object every time, since it remembers an acquisition whose answer was lost. */
  ofShard(shard: number): HeldLease {
    const known = this.#shards.get(shard);
    if (known !== undefined) return known;
    const { renewDeadlineMs, random } = this.#settings;
    const intervalMs = (renewDeadlineMs / RENEWALS_A_DEADLINE) * (1 - SPREAD * random.float());
    const lease = this.#lease(`${this.#prefix}shards/${shard}`, this.#holder, intervalMs);
    this.#shards.set(shard, lease);
    return lease;
  }

  /** The members that live. */
  async members(): Promise<ShardMember[]> {
    const prefix = `${this.#prefix}members/`;
    return (await this.#list(prefix)).flatMap(({ name, holder }) => {
      const id = unescaped(name.slice(prefix.length));
      const { who, shards } = parsed(holder);
      const weight = Number(who);
      // Not one of ours; a shard that it should hold all the same is protected by its own lease.
      if (id === undefined || !Number.isFinite(weight) || weight < 0 || Number.isNaN(shards)) return [];
      return [{ id, weight, shards }];
    });
  }

  /** Whoever holds a shard, also when it has left and only waits for what runs. */
  async holders(): Promise<Divider[]> {
    const holders = (await this.#list(`${this.#prefix}shards/`)).map(({ holder }) => parsed(holder));
    return holders.flatMap(({ who, shards }) => (Number.isNaN(shards) ? [] : { id: who, shards }));
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
    return holder === this.#holder && this.#shards.get(shard)?.isAskedFor === true;
  }

  get #holder(): string {
    return `${this.#settings.member} of ${this.#settings.shards}`;
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

/** As part of a lease's name: a text that ends where the next slash is. */
function escaped(text: string): string {
  return text.replace(/[%/]/g, encodeURIComponent);
}

function unescaped(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** What a lease's holder says; `shards` is NaN where it is none of ours. */
function parsed(holder: string): { readonly who: string; readonly shards: number } {
  const [, who = holder, shards = "NaN"] = /^(.*) of (\d+)$/s.exec(holder) ?? [];
  return { who, shards: Number(shards) };
}
