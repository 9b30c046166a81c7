import { type EvenkeelEvent, emitTo } from "../events.ts";
import type { MetricSample } from "../metric-sample.ts";
import { acceptOptions, invalidOptions, type OptionRules, rules } from "../option-rules.ts";
import type { DesiredResource } from "../resources/resource.ts";
import { ResourceLedger } from "../resources/resource-ledger.ts";
import type { BareEvent } from "./pass-notes.ts";
import { PassPeriod } from "./pass-period.ts";
import { PassRunner } from "./pass-runner.ts";
import type { PassResult, PassTerms } from "./pass-terms.ts";
import type { Explanation, LastPass, PassReport, Plan } from "./planned.ts";
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
  /** The option `name`: the group that it looks after. */
  readonly name: string;
  // Of any spec: otherwise a reconciler of one spec could not stand in a list of reconcilers.
  readonly #settings: ReconcilerSettings<never>;
  readonly #ledger: ResourceLedger<never>;
  readonly #runner: PassRunner<never>;
  readonly #grace: GracePeriod;
  /** One pass at a time, whoever asks for it. */
  #turn: Promise<unknown> = Promise.resolve();
  #loop: ReconcilerLoop | undefined;
  #period: PassPeriod;
  #lastPass: LastPass | undefined;
  #isPaused = false;
  /** Stopped, and not asked for anything since. */
  #isAtRest = false;
  readonly #metrics = (): MetricSample[] => this.metrics();

  /** @throws EvenkeelError `INVALID_OPTIONS` that names the option. */
  constructor(options: ReconcilerOptions<Spec>) {
    this.#settings = reconcilerSettings(options) as ReconcilerSettings<never>;
    const { store, name, clock, random, storeTimeoutMs, staleAfterMs } = this.#settings;
    this.name = name;
    this.#ledger = new ResourceLedger<never>({ store, group: name, clock, random, storeTimeoutMs });
    this.#grace = new GracePeriod(clock, staleAfterMs);
    this.#runner = new PassRunner(this.#settings, {
      emit: (event) => this.#emit(event),
      onLateOutcome: () => this.#loop?.wake(),
      isPaused: () => this.#isPaused,
    });
    this.#period = this.#nextPeriod();
    this.#emit({ type: "reconciler_created", metrics: this.#metrics });
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
    const set = await this.#ledger.setDesired(desired as number | Iterable<DesiredResource<never>>);
    this.#loop?.interrupt();
    this.#loop?.wake();
    return set;
  }

  /**
   * What `reconcile()` would do now. Writes nothing and calls nothing but `observe` and `desired`, for which it takes up to
   * `actionTimeoutMs`. A `stop()` does not end it.
   * @throws EvenkeelError `STORE_UNAVAILABLE`, `RECORD_CORRUPT`.
   */
  plan(): Promise<Plan> {
    return this.#runner.plan({});
  }

  /**
   * One pass, now; after the one that runs, if one does. It judges at once: without the grace period that the loop grants after its
   * start. It waits for all that it begins, at most `maxActionsPerPass` actions, and so for up to `actionTimeoutMs` or more.
   * @throws EvenkeelError `STORE_UNAVAILABLE`, `RECORD_CORRUPT`; an `AbortError` when a `stop()` ended it. Whatever fails besides is in
   * the report.
   */
  async reconcile(): Promise<PassReport> {
    return (await this.#pass((terms) => this.#runner.run(terms))).report;
  }

  /**
   * Carries out what `plan()` showed, with all that only waits for somebody to look at it (`massGuard`, `unconfirmedEmpty`).
   * @param planHash - `Plan.hash`.
   * @throws EvenkeelError `INVALID_OPTIONS` if the plan is another one by now; nothing was done then. Otherwise as `reconcile()`.
   */
  async approve(planHash: string): Promise<PassReport> {
    if (typeof planHash !== "string" || planHash === "")
      throw invalidOptions("Reconciler.approve", "planHash must be the hash of a plan");
    return (await this.#pass((terms) => this.#runner.approve(terms, planHash))).report;
  }

  /**
   * Begins to reconcile: at once (or once a `stop()` that is under way is over), at every wake, when a heartbeat is due, and at every
   * resync. Harmless when it has begun.
   */
  start(): void {
    if (this.#loop !== undefined) return;
    if (this.#period.isEnding) this.#beginPeriod();
    const period = this.#period;
    const work = {
      pass: (terms: PassTerms) => period.run((bounds) => this.#inTurn(() => this.#runner.run({ ...terms, ...bounds }))),
      emit: (event: BareEvent) => this.#emit(event),
      forgetMeasured: () => this.#runner.forgetMeasured(),
      signal: period.signal,
    };
    this.#loop = new ReconcilerLoop(this.#settings, work, this.#grace, period.begun());
    period.include(this.#loop.ended);
  }

  /**
   * Ends the loop, and whatever pass runs, also one that `reconcile()` or `approve()` began: nothing new begins, callbacks that run are
   * waited for, and told to stop after `graceMs`. Then it resolves as soon as what they had under way in the ledger is settled, which is
   * up to `storeTimeoutMs` for each write: no timer is left. What `reconcile()` or `approve()` is asked before that belongs to what is
   * ended; afterwards it works as before. Twice is harmless; the shorter `graceMs` counts.
   * @param options.graceMs - milliseconds. Defaults to 30,000.
   * @throws EvenkeelError `INVALID_OPTIONS`; nothing is ended then.
   */
  async stop(options: { graceMs?: number | undefined } = {}): Promise<void> {
    acceptOptions("Reconciler.stop", STOP_RULES, options);
    const { graceMs = 30_000 } = options;
    this.#loop?.end();
    this.#loop = undefined;
    const period = this.#period;
    await period.end(graceMs);
    // Asked twice, or begun anew meanwhile.
    if (this.#isAtRest || this.#period !== period) return;
    this.#isAtRest = true;
    this.#runner.forgetMeasured();
    this.#runner.forgetConcluded();
    this.#emit({ type: "reconciler_stopped", metrics: this.#metrics });
  }

  /**
   * Says that something may have changed. What a `TerminalError` left alone is tried again; of one resource also what only waits for its
   * backoff, but not what a `RetryAfter` put off: its callback has said when.
   * @throws EvenkeelError `INVALID_OPTIONS` for an id that can be none.
   */
  wake(id?: string): void {
    if (id !== undefined) acceptId("wake", id);
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

  /**
   * Why each recent action on a resource was taken, held or skipped, oldest first; the last says how it stands.
   * @throws EvenkeelError `INVALID_OPTIONS` for an id that can be none; `STORE_UNAVAILABLE`, `RECORD_CORRUPT`.
   */
  async explain(id: string): Promise<Explanation[]> {
    acceptId("explain", id);
    // The loop grants a grace period; a pass that is asked for doesn't.
    return this.#runner.explain(id, this.#loop === undefined ? {} : { graceLeftMs: () => this.#grace.leftMs() });
  }

  /** The last pass that this process has ended, whoever asked for it. Undefined: none yet. */
  lastPass(): LastPass | undefined {
    return this.#lastPass;
  }

  /**
   * The metrics `reconciler_*` and `workqueue_*`. All are there from the beginning; those of the queue begin anew with `start()`. While
   * another process leads, whose loop knows better, and after a `stop()`, the gauges `reconciler_*` are 0.
   */
  metrics(): MetricSample[] {
    const queue = this.#loop?.queue ?? new WorkQueue({ name: this.#settings.name, clock: this.#settings.clock });
    return [...this.#runner.metrics(), ...queue.metrics()];
  }

  /** A pass that is not the loop's. */
  #pass(run: (terms: PassTerms) => Promise<PassResult>): Promise<PassResult> {
    if (this.#period.isOver) this.#beginPeriod();
    return this.#period.run((bounds) => this.#inTurn(() => run(bounds)));
  }

  #beginPeriod(): void {
    this.#period = this.#nextPeriod();
    this.#runner.forgetEmptyAnswers();
    if (!this.#isAtRest) return;
    this.#isAtRest = false;
    this.#emit({ type: "reconciler_restarted", metrics: this.#metrics });
  }

  #nextPeriod(): PassPeriod {
    return new PassPeriod(this.#settings.clock, () => this.#runner.idle(), this.#period);
  }

  #inTurn(pass: () => Promise<PassResult>): Promise<PassResult> {
    const turn = this.#turn.then(pass).then((result) => {
      this.#lastPass = Object.freeze({ at: this.#settings.clock.now(), report: result.report });
      return result;
    });
    this.#turn = turn.catch(() => {});
    return turn;
  }

  #emit(event: BareEvent): void {
    const { clock, name, onEvent } = this.#settings;
    emitTo(onEvent, { ...event, at: clock.now(), reconciler: name } as EvenkeelEvent);
  }
}

function acceptId(method: string, id: unknown): void {
  if (!rules.name.test(id)) throw invalidOptions(`Reconciler.${method}`, `id must be ${rules.name.says}`);
}
