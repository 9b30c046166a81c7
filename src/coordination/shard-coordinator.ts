import { onAbort } from "../abort-listeners.ts";
import { isEvenkeelError } from "../errors.ts";
import { emitTo, type ShardEvent } from "../events.ts";
import { dropRejection } from "../rejections.ts";
import { HeldShard, notHeld, type ShardHandover, type ShardWork } from "./held-shard.ts";
import { jumpHash } from "./jump-hash.ts";
import { LeaseTerm } from "./lease-term.ts";
import { Rest } from "./rest.ts";
import { ShardAssignment } from "./shard-assignment.ts";
import { ShardLeases } from "./shard-leases.ts";
import { ShardMembership } from "./shard-membership.ts";
import { type ShardCoordinatorOptions, type ShardSettings, shardSettings } from "./shard-settings.ts";

/** So many shards are asked for at a time. */
const LANES = 16;

type DistributedOmit<Event, Names extends string> = Event extends unknown ? Omit<Event, Names> : never;
type News = DistributedOmit<ShardEvent, "at" | "division" | "member">;

/**
 * Divides keys among the processes that are there: a key belongs to one of a fixed number of shards (`jumpHash`), a shard to one of the
 * live members (`rendezvous`), and who acts on it holds the shard's lease. So each key is one member's at a time, and when members come
 * or go, only those shards move that have to.
 *
 * - A shard that moves while its holder lives is handed over: nothing new begins, what runs settles, the lease is given up, and only then
 *   the next member gets it, under a higher epoch. The shards of a member that died are free once their leases have lapsed.
 * - Each shard is fenced like the lead of a `LeaderElector`: {@link owns} turns false by `renewDeadlineMs`, whatever the store does.
 *   What a process does that was suspended between asking and the effect no lease can prevent: hand {@link epochOf} to a target
 *   that refuses a lower one. The ledger does so with the writes of a `Reconciler({ shards })`.
 * - It is a `ShardGate`.
 *
 * @example
 * ```ts
 * const shards = new ShardCoordinator({ store, name: "pollers", member: hostname() });
 * shards.start();
 * // Rejects with NOT_LEADER where it moves in the same moment.
 * if (shards.owns(feed.id)) await shards.run(feed.id, ({ signal }) => poll(feed, signal));
 * process.once("SIGTERM", () => shards.stop());
 * ```
 */
export class ShardCoordinator {
  readonly #settings: ShardSettings;
  readonly #leases: ShardLeases;
  readonly #assignment: ShardAssignment;
  readonly #rest: Rest;
  /** With what is asked for in one look. */
  readonly #patience: Rest;
  /** Until nothing runs under them any more. */
  readonly #held = new Map<number, { readonly shard: HeldShard; readonly over: Promise<void> }>();
  /** That are being asked for. */
  readonly #asked = new Map<number, Promise<void>>();
  readonly #listeners = new Set<() => void>();
  /** There while it takes part. */
  #stopping: AbortController | undefined;
  #ended: Promise<void> = Promise.resolve();

  /** @throws EvenkeelError `INVALID_OPTIONS` */
  constructor(options: ShardCoordinatorOptions) {
    this.#settings = shardSettings(options);
    this.#leases = new ShardLeases(this.#settings);
    this.#assignment = new ShardAssignment(this.#settings.shards);
    this.#rest = new Rest(this.#settings.clock);
    this.#patience = new Rest(this.#settings.clock);
  }

  /** Begins to take part. Twice is harmless. */
  start(): void {
    if (this.#stopping !== undefined) return;
    const stopping = new AbortController();
    this.#stopping = stopping;
    this.#ended = this.#ended.then(() => this.#takePart(stopping.signal));
  }

  /**
   * Leaves: nothing new begins, and each shard is given up once what runs under it has settled, so that others take over at once. Resolves
   * after that, with no timer left; twice is harmless. Where the store does not answer, leases have to lapse.
   */
  stop(): Promise<void> {
    this.#stopping?.abort();
    this.#stopping = undefined;
    return this.#ended;
  }

  /** The shard of a key: the same for all members, at all times. */
  shardOf(key: string): number {
    return jumpHash(key, this.#settings.shards);
  }

  /** Whether this member may begin something for the key at this moment. To be asked before each effect. */
  owns(key: string): boolean {
    return this.#held.get(this.shardOf(key))?.shard.isOpen() ?? false;
  }

  /** The epoch under which this member holds the key's shard, also while that is handed over; higher than that of every holder before. */
  epochOf(key: string): number | undefined {
    const shard = this.#held.get(this.shardOf(key))?.shard;
    return shard?.isHeld() ? shard.epoch : undefined;
  }

  /** The shards under which this member may begin something, in order. */
  ownedShards(): number[] {
    const open = [...this.#held.values()].filter(({ shard }) => shard.isOpen());
    return open.map(({ shard }) => shard.shard).sort((a, b) => a - b);
  }

  /** The shards that this member holds and their epochs, also those that are being handed over. */
  held(): { readonly shard: number; readonly epoch: number }[] {
    const held = [...this.#held.values()].filter(({ shard }) => shard.isHeld());
    return held.map(({ shard: { shard, epoch } }) => ({ shard, epoch }));
  }

  /**
   * Runs work on a key whose shard this member holds; the shard is not handed over until it has settled. Where the shard is lost,
   * `signal` aborts, and nothing keeps the work from going on but itself.
   * @throws EvenkeelError `NOT_LEADER` where the shard is not ours; the work does not begin.
   */
  async run<T>(key: string, work: (held: ShardWork) => T | Promise<T>): Promise<T> {
    const shard = this.shardOf(key);
    const held = this.#held.get(shard);
    if (held === undefined) throw notHeld(shard);
    return held.shard.run(work);
  }

  /**
   * Calls back whenever this member owns other shards than before, also when a hand-over begins or a deadline passes. What the listener
   * throws or rejects with changes nothing. Returns what ends that.
   */
  onChange(listener: () => void): () => void {
    const entry = (): void => listener();
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  async #takePart(stopping: AbortSignal): Promise<void> {
    const membership = new ShardMembership(this.#settings, this.#leases, {
      onError: (error) => this.#emit({ type: "shard_error", of: "store", error }),
      onRefusal: (error) => this.#emit({ type: "membership_refused", error }),
    });
    const leave = (): void => {
      this.#rest.end();
      this.#patience.end();
      this.#handOver("stopped");
    };
    const stopListening = onAbort(stopping, leave);
    while (!stopping.aborted) {
      const ms = await this.#round(membership, stopping);
      if (!stopping.aborted) await this.#rest.for(ms);
    }
    stopListening();
    // First: the others then know whose the shards are to be.
    await membership.leave();
    await Promise.allSettled(this.#asked.values());
    while (this.#held.size > 0) await Promise.all([...this.#held.values()].map(({ over }) => over));
    this.#assignment.update([]);
  }

  /** Looks who is there, and gives and takes accordingly. @returns milliseconds until the next look. */
  async #round(membership: ShardMembership, stopping: AbortSignal): Promise<number> {
    const { retryPeriodMs, member, random } = this.#settings;
    try {
      const members = await membership.refresh({ isIdle: this.held().length === 0 });
      if (stopping.aborted) return 0;
      if (this.#assignment.update(members))
        this.#emit({ type: "members_changed", members: members.map(({ id, weight }) => ({ id, weight })) });
      const ours = new Set(this.#assignment.of(member));
      this.#handOver("moved", (shard) => !ours.has(shard));
      // Two who step back from each other must not come again at the same moment for ever.
      if (members.length === 0) return retryPeriodMs * (1 - random.float() / 2);
      const missing = [...ours].filter((shard) => !this.#held.has(shard));
      return await this.#acquire(missing, membership, stopping);
    } catch (error) {
      // What is held stays so, as long as its own leases are renewed.
      this.#emit({ type: "shard_error", of: "store", error });
      return retryPeriodMs;
    }
  }

  /** Takes those that are free. @returns milliseconds until others may be. */
  async #acquire(missing: readonly number[], membership: ShardMembership, stopping: AbortSignal): Promise<number> {
    const { retryPeriodMs } = this.#settings;
    if (missing.length === 0) return retryPeriodMs;
    const taken = await this.#leases.taken();
    const free = missing.filter((shard) => !taken.has(shard) && !this.#asked.has(shard));
    const take = async (): Promise<void> => {
      for (let shard = free.shift(); shard !== undefined && !stopping.aborted; shard = free.shift())
        if (!(await this.#ask(shard, membership, stopping))) return;
    };
    // One that doesn't answer must not keep us from looking again: what others leave meanwhile is free.
    void Promise.all(Array.from({ length: LANES }, take)).then(() => this.#patience.end());
    await this.#patience.for(retryPeriodMs);
    free.splice(0);
    const soonestMs = missing.reduce((ms, shard) => Math.min(ms, taken.get(shard) ?? ms), retryPeriodMs);
    // A lease with nothing left by a clock that lags must not be asked for in a hot loop.
    return Math.max(soonestMs, retryPeriodMs / 10);
  }

  /** @returns whether it makes sense to ask for others, too. */
  async #ask(shard: number, membership: ShardMembership, stopping: AbortSignal): Promise<boolean> {
    const asking = this.#take(shard, membership, stopping);
    this.#asked.set(shard, asking);
    try {
      await asking;
      return true;
    } catch (error) {
      this.#emit({ type: "shard_error", of: "store", shard, error });
      return isEvenkeelError(error) && error.code !== "STORE_UNAVAILABLE";
    } finally {
      this.#asked.delete(shard);
    }
  }

  async #take(shard: number, membership: ShardMembership, stopping: AbortSignal): Promise<void> {
    const { clock, onAssigned, onRevoked } = this.#settings;
    const lease = this.#leases.ofShard(shard);
    const candidacy = await lease.acquire();
    if (candidacy.status === "held") return;
    const term = new LeaseTerm<ShardHandover>(clock, candidacy.grant, () => this.#changed());
    const { epoch } = term;
    // The answer may have come too late to be of use. And whoever joined since our membership lapsed did not see us: that it stands
    // now shows that it stood when the shard was granted.
    if (stopping.aborted || !term.isHeld() || !membership.isMember()) {
      term.end("stopped");
      return lease.release(epoch);
    }
    const held = new HeldShard({
      shard,
      term,
      lease,
      callbacks: { onAssigned, onRevoked },
      onError: (of, error) => this.#emit({ type: "shard_error", of, shard, error }),
    });
    onAbort(term.signal, () => this.#changed());
    const over = this.#hold(held);
    this.#held.set(shard, { shard: held, over });
  }

  async #hold(held: HeldShard): Promise<void> {
    const { shard, epoch } = held;
    // Once it can be found.
    await Promise.resolve();
    this.#emit({ type: "shard_assigned", shard, epoch });
    this.#changed();
    const reason = await held.untilOver();
    this.#held.delete(shard);
    this.#emit({ type: "shard_revoked", shard, epoch, reason });
    // It may be ours again; after a failure not before the next regular look.
    const { member } = this.#settings;
    if (reason !== "failed" && this.#assignment.isOf(member, shard)) this.#rest.end();
  }

  #handOver(why: ShardHandover, isMeant: (shard: number) => boolean = () => true): void {
    for (const { shard } of this.#held.values()) if (isMeant(shard.shard)) shard.handOver(why);
  }

  #changed(): void {
    for (const listener of this.#listeners) {
      try {
        dropRejection(listener());
      } catch {
        // What it does with the news must not decide about a shard.
      }
    }
  }

  #emit(news: News): void {
    const { clock, name, member, onEvent } = this.#settings;
    emitTo(onEvent, { at: clock.now(), division: name, member, ...news });
  }
}
