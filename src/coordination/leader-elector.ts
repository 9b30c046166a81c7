import { isOfAbort, onAbort } from "../abort-listeners.ts";
import { type CoordinationEvent, emitTo, type LeaderStopReason } from "../events.ts";
import { HeldLease } from "./held-lease.ts";
import { type LeaderElectorOptions, type LeaderSettings, leaderSettings } from "./leader-settings.ts";
import { type LeaseGrant, type LeaseLoss, LeaseTerm, notLeader } from "./lease-term.ts";
import { pause } from "./pause.ts";

/** Candidates wait up to so many times the period, so that they don't all ask at once. After client-go. */
const JITTER = 1.2;

const NOT_LEADING = AbortSignal.abort(notLeader("This process does not lead."));

/** Why a leader gives up by itself. */
type Resignation = Exclude<LeaderStopReason, LeaseLoss>;

type DistributedOmit<Event, Names extends string> = Event extends unknown ? Omit<Event, Names> : never;
type News = DistributedOmit<CoordinationEvent, "at" | "election">;

/**
 * Elects one of many processes by a lease in their store.
 *
 * It does **not** keep a former leader from finishing what it has begun: a process can be suspended between asking {@link isLeader} and
 * the effect. What has to be safe from that carries {@link epoch}, which rises with each leader, and is refused where a later one was seen:
 * the ledger does so with every write of a `Reconciler({ leader })`.
 *
 * - The leader gives up by itself when no renewal was confirmed for `renewDeadlineMs`, counted from when it was begun. Where only the
 *   wall clock says that so much time has gone, because the machine was suspended or the clock was set, it does not lead until a
 *   renewal is confirmed, which is asked for at once: then the term goes on, or is over by the store's word. A wall clock that is set
 *   back changes nothing.
 * - Callbacks come in order: `onStartedLeading` of a term, then its `onStoppedLeading` after that has settled, then those of the
 *   next term.
 * - It is a `LeaderGate`.
 *
 * @example
 * ```ts
 * const elector = new LeaderElector({
 *   store,
 *   name: "billing",
 *   onStartedLeading: ({ epoch, signal }) => runBilling(epoch, signal),
 * });
 * elector.start();
 * process.once("SIGTERM", () => elector.stop());
 * ```
 */
export class LeaderElector {
  readonly #settings: LeaderSettings;
  readonly #lease: HeldLease;
  /** Over once it is no longer held, which only its own clock tells. */
  #leadership: LeaseTerm<Resignation> | undefined;
  #lastSeen: { readonly identity: string; readonly epoch: number } | undefined;
  /** There while it competes or leads. */
  #stopping: AbortController | undefined;
  #ended: Promise<void> = Promise.resolve();

  /** @throws EvenkeelError `INVALID_OPTIONS` */
  constructor(options: LeaderElectorOptions) {
    this.#settings = leaderSettings(options);
    this.#lease = new HeldLease(this.#settings);
  }

  /** Begins to compete. Twice is harmless. */
  start(): void {
    if (this.#stopping !== undefined) return;
    const stopping = new AbortController();
    this.#stopping = stopping;
    this.#ended = this.#ended.then(() => this.#compete(stopping.signal));
  }

  /**
   * Stops competing. A leader's `signal` aborts, and it still leads, and renews, until `onStartedLeading` has settled; then the lease is
   * released, so that another one leads at once, and `onStoppedLeading` is called. Resolves after that, with no timer left; twice is
   * harmless. Where the store does not answer it takes up to half of `renewDeadlineMs` more, and the lease has to lapse. A `Reconciler` that
   * it gates is stopped before: what that has under way ends with the signal.
   */
  stop(): Promise<void> {
    this.#stopping?.abort();
    this.#stopping = undefined;
    return this.#ended;
  }

  /** Whether this process leads at this moment. To be asked before each effect. */
  isLeader(): boolean {
    return this.#leadership?.isHeld() ?? false;
  }

  /** @throws EvenkeelError `NOT_LEADER` */
  assertLeader(): void {
    if (!this.isLeader()) throw notLeader("This process does not lead.");
  }

  /** Of the present leadership; higher than that of every leader before. */
  get epoch(): number | undefined {
    return this.isLeader() ? this.#leadership?.epoch : undefined;
  }

  /** Aborts when the present leadership ends, or is to end; aborted where this process does not lead. */
  get signal(): AbortSignal {
    return this.isLeader() ? (this.#leadership?.signal ?? NOT_LEADING) : NOT_LEADING;
  }

  async #compete(stopping: AbortSignal): Promise<void> {
    while (!stopping.aborted) await pause(this.#settings.clock, await this.#candidate(stopping), stopping);
  }

  /** Asks once, and leads where it may. @returns milliseconds until it asks again. */
  async #candidate(stopping: AbortSignal): Promise<number> {
    const { retryPeriodMs } = this.#settings;
    try {
      const candidacy = await this.#lease.acquire();
      if (candidacy.status === "held") {
        const { holder, epoch, remainingMs } = candidacy.by;
        if (!stopping.aborted) this.#see(holder, epoch);
        // A lease with nothing left by a clock that lags must not be asked for in a hot loop.
        return this.#jittered(Math.min(retryPeriodMs, Math.max(remainingMs, retryPeriodMs / 10)));
      }
      await this.#take(candidacy.grant, stopping);
    } catch (error) {
      this.#fail("store", error);
    }
    return this.#jittered(retryPeriodMs);
  }

  /** @throws what the store did when the lease could not be released. */
  async #take(grant: LeaseGrant, stopping: AbortSignal): Promise<void> {
    const leadership = new LeaseTerm<Resignation>(this.#settings.clock, grant);
    if (stopping.aborted || !leadership.isHeld()) {
      // The answer came too late to be of use.
      leadership.end("stopped");
      return this.#lease.release(leadership.epoch);
    }
    try {
      await this.#lead(leadership, stopping);
    } finally {
      this.#tell("onStoppedLeading", () => this.#settings.onStoppedLeading?.({ epoch: leadership.epoch }));
    }
  }

  async #lead(leadership: LeaseTerm<Resignation>, stopping: AbortSignal): Promise<void> {
    const { epoch } = leadership;
    this.#leadership = leadership;
    this.#emit({ type: "leader_started", epoch });
    this.#see(this.#settings.identity, epoch);
    const renewing = this.#lease.keepRenewed(leadership, (error) => this.#fail("store", error));
    const work = this.#work(leadership);
    const drain = (): void => {
      leadership.drain();
      void work.then(() => leadership.end("stopped"));
    };
    const stopListening = onAbort(stopping, drain);
    // A callback may have asked for it by now.
    if (stopping.aborted) drain();
    const reason = await leadership.ended;
    stopListening();
    this.#emit({ type: "leader_stopped", epoch, reason });
    await Promise.all([work, renewing]);
    if (reason !== "lost" && reason !== "missing") await this.#lease.release(epoch);
  }

  /** Runs the user's work. Resolves when it has settled. */
  async #work(leadership: LeaseTerm<Resignation>): Promise<void> {
    const { epoch, signal } = leadership;
    try {
      await this.#settings.onStartedLeading?.({ epoch, signal });
    } catch (error) {
      if (isOfAbort(error, signal)) return;
      this.#fail("onStartedLeading", error);
      leadership.end("failed");
    }
  }

  #see(identity: string, epoch: number): void {
    const last = this.#lastSeen;
    if (last?.identity === identity && last.epoch === epoch) return;
    this.#lastSeen = { identity, epoch };
    this.#emit({ type: "leader_observed", leader: identity, epoch });
    this.#tell("onNewLeader", () => this.#settings.onNewLeader?.({ identity, epoch }));
  }

  /** Calls what nobody waits for; should it fail, that is only reported. */
  #tell(of: "onStoppedLeading" | "onNewLeader", call: () => unknown): void {
    const fail = (error: unknown): void => this.#fail(of, error);
    try {
      Promise.resolve(call()).catch(fail);
    } catch (error) {
      fail(error);
    }
  }

  #fail(of: "onStartedLeading" | "onStoppedLeading" | "onNewLeader" | "store", error: unknown): void {
    this.#emit({ type: "leader_error", of, error });
  }

  #emit(news: News): void {
    const { clock, name, onEvent } = this.#settings;
    emitTo(onEvent, { at: clock.now(), election: name, ...news });
  }

  #jittered(ms: number): number {
    return ms * (1 + (JITTER - 1) * this.#settings.random.float());
  }
}
