import { type EvenkeelEvent, emitTo } from "../events.ts";
import { acceptOptions, invalidOptions, type OptionRules, rules } from "../option-rules.ts";
import type { DesiredResource } from "../resources/resource.ts";
import { ResourceLedger } from "../resources/resource-ledger.ts";
import type { MetricSample } from "./metric-sample.ts";
import type { BareEvent } from "./pass-notes.ts";
import { PassRunner, type PassTerms } from "./pass-runner.ts";
import type { Explanation, PassReport, Plan } from "./planned.ts";
import { GracePeriod, ReconcilerLoop } from "./reconciler-loop.ts";
import type { ReconcilerStatus } from "./reconciler-status.ts";
import { type ReconcilerOptions, type ReconcilerSettings, reconcilerSettings } from "./settings.ts";
import { WorkQueue } from "./work-queue.ts";

const STOP_RULES: OptionRules = {
  graceMs: rules.custom(
    "a finite number of milliseconds that is not negative",
    (value) => Number.isFinite(value) && (value as number) >= 0,
  ),
};

/**
 * Keeps what there is equal to what is desired: creates what is missing, gracefully terminates what is surplus, replaces what stopped
 * beating.
 *
 * - **Level-triggered.** A pass looks at the present state and not at what woke it: a wake that is lost is made up for by the next
 *   resync.
 * - **Unknown is not empty.** Where `observe` or `desired` throws, takes too long or answers in part, nothing is concluded from what is
 *   not there.
 * - **Ledger first.** What is to be done is in the ledger before it is done, under an idempotency key that stays, so that whoever comes
 *   after a crash goes on with it.
 *
 * It does **not** guarantee that a callback runs only once: a callback that was interrupted is called again with the same
 * `ctx.idempotencyKey`, which the API behind it has to honour.
 *
 * @example
 * ```ts
 * const workers = new Reconciler({
 *   name: "worker",
 *   store: sqliteStore("ledger.db"),
 *   create: async (resource, ctx) => ({ externalId: await api.start(resource.id, { idempotencyKey: ctx.idempotencyKey }) }),
 *   terminate: async (resource) => api.stop(resource.externalId),
 * });
 * await workers.setDesired(10);
 * workers.start();
 * ```
 */
export class Reconciler<Spec = unknown> {
  readonly #settings: ReconcilerSettings<Spec>;
  readonly #ledger: ResourceLedger<Spec>;
  readonly #runner: PassRunner<Spec>;
  readonly #grace: GracePeriod;
  /** One pass at a time, whoever asks for it. */
  #turn: Promise<unknown> = Promise.resolve();
  #loop: ReconcilerLoop | undefined;
  #stopping: Promise<void> = Promise.resolve();
  #isPaused = false;

  /** @throws EvenkeelError `INVALID_OPTIONS` that names the option. */
  constructor(options: ReconcilerOptions<Spec>) {
    this.#settings = reconcilerSettings(options);
    const { store, name, clock, random, storeTimeoutMs, staleAfterMs } = this.#settings;
    this.#ledger = new ResourceLedger<Spec>({ store, group: name, clock, random, storeTimeoutMs });
    this.#grace = new GracePeriod(clock, staleAfterMs);
    this.#runner = new PassRunner(this.#settings, {
      emit: (event) => this.#emit(event),
      onLateOutcome: () => this.#loop?.wake(),
      isPaused: () => this.#isPaused,
    });
  }

  /**
   * Keeps what is desired in the ledger, and wakes the loop. What was desired before is forgotten.
   * @param desired - a number N for the ids `<name>-0` to `<name>-<N-1>`, or an iterable of resources.
   * @returns the generation, which rises when what is desired is something else than before.
   * @throws EvenkeelError `INVALID_OPTIONS` for what can't be desired, and where the options say what is; `STORE_UNAVAILABLE`.
   */
  async setDesired(desired: number | Iterable<DesiredResource<Spec>>): Promise<{ generation: number }> {
    if (this.#settings.desired !== undefined)
      throw invalidOptions("Reconciler.setDesired", "the option `desired` says already what is desired");
    const set = await this.#ledger.setDesired(desired);
    this.#loop?.interrupt();
    this.#loop?.wake();
    return set;
  }

  /**
   * What `reconcile()` would do now. Writes nothing and calls nothing but `observe` and `desired`.
   * @throws EvenkeelError `STORE_UNAVAILABLE`, `RECORD_CORRUPT`.
   */
  plan(): Promise<Plan> {
    return this.#runner.plan({});
  }

  /**
   * One pass, now. It judges at once: without the grace period that the loop grants after its start.
   * @throws EvenkeelError `STORE_UNAVAILABLE`, `RECORD_CORRUPT`; whatever fails besides is in the report.
   */
  reconcile(): Promise<PassReport> {
    return this.#inTurn(async () => (await this.#runner.run({})).report);
  }

  /**
   * Carries out what `plan()` showed, with all that only waits for somebody to look at it (`massGuard`, `unconfirmedEmpty`).
   * @param planHash - `Plan.hash`.
   * @throws EvenkeelError `INVALID_OPTIONS` if the plan is another one by now; nothing was done then.
   */
  approve(planHash: string): Promise<PassReport> {
    if (typeof planHash !== "string" || planHash === "")
      return Promise.reject(invalidOptions("Reconciler.approve", "planHash must be the hash of a plan"));
    return this.#inTurn(async () => (await this.#runner.approve({}, planHash)).report);
  }

  /** Begins to reconcile: at once, at every wake, when a heartbeat is due, and at every resync. Harmless when it has begun. */
  start(): void {
    if (this.#loop !== undefined) return;
    const work = {
      pass: (terms: PassTerms) => this.#inTurn(() => this.#runner.run(terms)),
      idle: () => this.#runner.idle(),
      emit: (event: BareEvent) => this.#emit(event),
    };
    this.#loop = new ReconcilerLoop(this.#settings as ReconcilerSettings<never>, work, this.#grace, this.#stopping);
  }

  /**
   * Ends the loop: nothing new begins, callbacks that run are waited for, and told to stop after `graceMs`. Twice is harmless.
   * @param options.graceMs - milliseconds. Defaults to 30,000.
   */
  stop(options: { graceMs?: number } = {}): Promise<void> {
    try {
      acceptOptions("Reconciler.stop", STOP_RULES, options);
    } catch (error) {
      return Promise.reject(error);
    }
    const { graceMs = 30_000 } = options;
    const loop = this.#loop;
    if (loop === undefined) return this.#stopping;
    this.#loop = undefined;
    this.#stopping = loop.stop(graceMs);
    return this.#stopping;
  }

  /**
   * Says that something may have changed. Of one resource: what failed is tried again now, whatever its backoff.
   * @throws EvenkeelError `INVALID_OPTIONS` for an id that can be none.
   */
  wake(id?: string): void {
    if (id !== undefined && !rules.name.test(id))
      throw invalidOptions("Reconciler.wake", `id must be ${rules.name.says}`);
    this.#runner.wake(id);
    this.#loop?.wake();
  }

  /** From now on passes look and report, and do nothing. */
  pause(): void {
    this.#isPaused = true;
    this.#loop?.wake();
  }

  /** Passes act again, on what they see then; nobody is declared dead before a grace period is over. */
  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#grace.begin();
    this.#loop?.wake();
  }

  /**
   * How the group stands, by the ledger and by what was last observed.
   * @throws EvenkeelError `STORE_UNAVAILABLE`, `RECORD_CORRUPT`.
   */
  async status(): Promise<ReconcilerStatus> {
    const { leader, name } = this.#settings;
    const status = await this.#runner.status({});
    return { name, ...status, paused: this.#isPaused, ...(leader === undefined ? {} : { leader: leader.isLeader() }) };
  }

  /** Why each recent action on a resource was taken, held or skipped, oldest first; the last says how it stands. */
  explain(id: string): Promise<Explanation[]> {
    return this.#runner.explain(id, {});
  }

  /** The metrics `reconciler_*` and `workqueue_*`. All are there from the beginning; those of the queue begin anew with `start()`. */
  metrics(): MetricSample[] {
    const queue = this.#loop?.queue ?? new WorkQueue({ name: this.#settings.name, clock: this.#settings.clock });
    return [...this.#runner.metrics(), ...queue.metrics()];
  }

  #inTurn<T>(pass: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(pass);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  #emit(event: BareEvent): void {
    const { clock, name, onEvent } = this.#settings;
    emitTo(onEvent, { ...event, at: clock.now(), reconciler: name } as EvenkeelEvent);
  }
}
