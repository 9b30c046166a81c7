import { isOfAbort, untilAborted } from "../abort-listeners.ts";
import type { ShardStopReason } from "../events.ts";
import type { HeldLease } from "./held-lease.ts";
import { type LeaseLoss, type LeaseTerm, notLeader } from "./lease-term.ts";
import type { ShardSettings } from "./shard-settings.ts";

/** Why a member gives a shard up: it is another's now, we were asked to stop, or `onAssigned` failed. */
export type ShardHandover = Exclude<ShardStopReason, LeaseLoss>;

/** What the work on a key is told. */
export interface ShardWork {
  readonly shard: number;
  readonly epoch: number;
  /** Aborts when the work has to end: the shard is to be handed over, or was lost. */
  readonly signal: AbortSignal;
}

export interface HeldShardTerms {
  readonly shard: number;
  readonly term: LeaseTerm<ShardHandover>;
  readonly lease: HeldLease;
  readonly callbacks: Pick<ShardSettings, "onAssigned" | "onRevoked">;
  readonly onError: (of: "store" | "onAssigned" | "onRevoked", error: unknown) => void;
}

/** One shard from the moment that it is ours until nothing runs under it any more and its lease is given up, or was lost. */
export class HeldShard {
  readonly shard: number;
  readonly epoch: number;
  readonly #terms: HeldShardTerms;
  #running = 0;
  #onIdle: (() => void) | undefined;
  #handover: ShardHandover = "stopped";

  constructor(terms: HeldShardTerms) {
    this.#terms = terms;
    this.shard = terms.shard;
    this.epoch = terms.term.epoch;
  }

  /** Whether something may be begun under it at this moment. */
  isOpen(): boolean {
    const { term } = this.#terms;
    return term.isHeld() && !term.signal.aborted;
  }

  /** Whether what was begun may still act. */
  isHeld(): boolean {
    return this.#terms.term.isHeld();
  }

  /** Nothing begins any more; once what runs has settled, the lease is given up. Only the first reason counts. */
  handOver(why: ShardHandover): void {
    const { term } = this.#terms;
    if (term.signal.aborted) return;
    this.#handover = why;
    term.drain();
  }

  /** @throws EvenkeelError `NOT_LEADER` where nothing may begin. */
  async run<T>(work: (held: ShardWork) => T | Promise<T>): Promise<T> {
    if (!this.isOpen()) throw notHeld(this.shard);
    this.#running += 1;
    try {
      return await work({ shard: this.shard, epoch: this.epoch, signal: this.#terms.term.signal });
    } finally {
      this.#running -= 1;
      if (this.#running === 0) this.#onIdle?.();
    }
  }

  /** Resolves at the end of all, with why the shard is ours no longer. */
  async untilOver(): Promise<ShardStopReason> {
    const { term, lease, onError } = this.#terms;
    const renewing = lease.keepRenewed(term, (error) => onError("store", error));
    const assigned = this.#assigned();
    await untilAborted(term.signal);
    await assigned;
    await this.#idle();
    await this.#revoked();
    term.end(this.#handover);
    const why = await term.ended;
    await renewing;
    if (why !== "lost" && why !== "missing")
      await lease.release(term.epoch).catch((error: unknown) => onError("store", error));
    return why;
  }

  async #assigned(): Promise<void> {
    const { callbacks, term, onError } = this.#terms;
    const { signal } = term;
    try {
      await callbacks.onAssigned?.(this.shard, this.epoch, { signal });
    } catch (error) {
      if (isOfAbort(error, signal)) return;
      onError("onAssigned", error);
      this.handOver("failed");
    }
  }

  async #revoked(): Promise<void> {
    try {
      await this.#terms.callbacks.onRevoked?.(this.shard);
    } catch (error) {
      this.#terms.onError("onRevoked", error);
    }
  }

  async #idle(): Promise<void> {
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }
}

/** The error of whoever begins something under a shard that is not ours. */
export function notHeld(shard: number) {
  return notLeader(`This member does not hold shard ${shard}.`);
}
