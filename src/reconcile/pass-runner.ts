import { Stopwatch } from "../clock.ts";
import type { MetricSample } from "../metric-sample.ts";
import { isRetryAfter } from "../resources/action-errors.ts";
import { type Found, isBlind, type LookTerms } from "./found.ts";
import { metLess } from "./gone-back.ts";
import { presentLeadership } from "./leadership.ts";
import { NextPasses } from "./next-pass.ts";
import { PassExecution } from "./pass-execution.ts";
import { PassNotes } from "./pass-notes.ts";
import { finishedOf, heldAfter, notBegunAfter, shown, standsOf } from "./pass-report.ts";
import type { LedTerms, PassHooks, PassResult, PassTerms } from "./pass-terms.ts";
import type { Explanation, HeldAction, PassReport, Plan } from "./planned.ts";
import { RaisedEpochs } from "./raised-epochs.ts";
import type { GroupStanding } from "./reconciler-status.ts";
import { Retries, recordRetry } from "./retries.ts";
import type { ReconcilerSettings } from "./settings.ts";
import { isConverged, Standing } from "./standing.ts";
import type { Step, StepOutcome } from "./step.ts";
import { Survey } from "./survey.ts";

/** What failed in slots that are gone is forgotten once there is so much more of it than there are slots. */
const MOST_FORGOTTEN_RETRIES = 1_000;

/** Runs passes: looks, does what follows from it, and says how things stand then. */
export class PassRunner<Spec> {
  readonly #settings: ReconcilerSettings<Spec>;
  readonly #hooks: PassHooks;
  readonly #retries: Retries;
  readonly #survey: Survey<Spec>;
  readonly #execution: PassExecution<Spec>;
  readonly #standing: Standing<Spec>;
  readonly #nextPasses: NextPasses;
  readonly #notes: PassNotes<Spec>;
  readonly #epochs: RaisedEpochs;
  readonly #generationOf = new WeakMap<Step, number>();
  /** Steps whose pass did not wait for them. */
  readonly #late = new WeakSet<Step>();
  #generation: number | undefined;
  /** Of the last pass that led. */
  #epoch: number | undefined;

  constructor(settings: ReconcilerSettings<Spec>, hooks: PassHooks) {
    this.#settings = settings;
    this.#hooks = hooks;
    this.#retries = new Retries(settings.random);
    this.#notes = new PassNotes(settings, (event) => hooks.emit(event));
    this.#execution = new PassExecution(settings, {
      onOutcome: (outcome) => this.#onOutcome(outcome),
      onLateEnd: () => hooks.onLateOutcome(),
      onLateFailure: (error) => hooks.emit({ type: "pass_failed", error }),
    });
    this.#survey = new Survey(settings, this.#retries, (id) => this.#execution.isBusy(id));
    this.#epochs = new RaisedEpochs(settings as ReconcilerSettings<never>);
    this.#standing = new Standing(settings, () => this.#notes.metrics.fenced());
    this.#nextPasses = new NextPasses(settings as ReconcilerSettings<never>, (moment) =>
      this.#survey.reader.local(moment),
    );
  }

  async plan(terms: PassTerms): Promise<Plan> {
    const found = await this.#survey.look(this.#lookTerms(this.#asked(terms), "dry"));
    const { hash, steps, held } = found.composition;
    const { wakeAt } = this.#nextPasses.asFound(found);
    return {
      hash,
      generation: found.generation,
      actions: steps.map(shown),
      held: [...held],
      conditions: this.#standing.next(found, { isPaused: this.#hooks.isPaused(), isFenced: false }),
      ...(wakeAt === undefined ? {} : { nextWakeAt: wakeAt }),
    };
  }

  async run(terms: PassTerms): Promise<PassResult> {
    terms.signal?.throwIfAborted();
    const led = await this.#begun(terms);
    const stopwatch = new Stopwatch(this.#settings.clock);
    return this.#carryOut(await this.#survey.look(this.#lookTerms(led, "real")), led, stopwatch);
  }

  /** @throws EvenkeelError `INVALID_OPTIONS` if the plan is another one by now. */
  async approve(terms: PassTerms, hash: string): Promise<PassResult> {
    const led = await this.#begun(terms);
    const stopwatch = new Stopwatch(this.#settings.clock);
    return this.#carryOut(await this.#survey.look(this.#lookTerms(led, "dry"), hash), led, stopwatch);
  }

  async status(terms: PassTerms): Promise<GroupStanding> {
    const found = await this.#survey.reread(this.#lookTerms(this.#asked(terms), "dry"));
    return this.#standing.status(found, { isPaused: this.#hooks.isPaused() });
  }

  async explain(id: string, terms: PassTerms): Promise<Explanation[]> {
    const asked = this.#lookTerms(this.#asked(terms), "dry");
    const { isBlind } = this.#standing;
    const lookTerms: LookTerms = { ...asked, blockedBy: () => asked.blockedBy() ?? (isBlind ? "unknown" : undefined) };
    const { composition } = await this.#survey.reread(lookTerms);
    const verdict = this.#survey.verdictOf(id, lookTerms);
    if (verdict === undefined) return [...this.#notes.of(id)];
    const isBusy = this.#execution.isBusy(id);
    if (isBusy || verdict.proposals.length === 0) {
      const reason = isBusy || !verdict.settled ? "InProgress" : "AsDesired";
      return this.#notes.withPresent(id, [{ action: "none", outcome: "skipped", reason }]);
    }
    return this.#notes.withPresent(id, standsOf(composition, verdict));
  }

  metrics(): MetricSample[] {
    return this.#notes.metrics.samples();
  }

  /** What the last pass concluded is of the past: others may look after the group now, and say so in the ledger. */
  forgetConcluded(): void {
    this.#standing.forgetConcluded();
  }

  /** What the last pass measured is not so any more, as far as we know. */
  forgetMeasured(): void {
    this.#notes.metrics.forgetMeasured();
  }

  /** What empty answers were given before does not count any more: others may have looked after the group meanwhile. */
  forgetEmptyAnswers(): void {
    this.#survey.forgetEmptyAnswers();
  }

  wake(id?: string): void {
    this.#retries.wake(id);
    if (id !== undefined) this.#survey.view.touch(id);
  }

  /** Resolves once nothing is under way. */
  idle(): Promise<void> {
    return this.#execution.idle();
  }

  // -------------------------------------------------------------------------------------------------- a pass

  async #carryOut(found: Found, terms: LedTerms, stopwatch: Stopwatch): Promise<PassResult> {
    // What it found may be no more than that it was told to stop.
    terms.signal?.throwIfAborted();
    this.#notes.found(found);
    this.#epochs.heard(found.stored.epoch);
    this.#takeGeneration(found.generation);
    const [steps, early] = this.#divided(found.composition.steps);
    for (const step of steps) this.#generationOf.set(step, found.generation);
    const { mayBegin = () => true, signal, interruption, leadership } = terms;
    const { outcomes, isCut } = await this.#execution.execute(steps, {
      signal,
      mayBegin: () => mayBegin() && !this.#hooks.isPaused(),
      lasts: () => leadership.lasts(),
      interruption,
      untilAt: this.#nextPasses.untilAt(found),
    });
    // Nobody waits for the rest: it counts as it ends.
    const known = new Set(outcomes.map(({ step }) => step));
    if (isCut) for (const step of steps) if (!known.has(step)) this.#late.add(step);
    signal?.throwIfAborted();
    this.#creationsEnded(outcomes);
    // By now it may be paused, or lead no longer.
    const lookTerms = this.#lookTerms(terms, "real");
    const after = await this.#survey.review(lookTerms, found);
    const isPaused = this.#hooks.isPaused();
    const isFenced = found.isFenced || terms.isRefused || outcomes.some(({ result }) => result === "fenced");
    const isActing = lookTerms.blockedBy() === undefined;
    const ending = { isPaused, isFenced, isActing, epoch: leadership.epoch };
    const { wanted, states } = after;
    const { drift } = after.composition;
    const converged = isConverged(after);
    this.#notes.metrics.measured({ desired: wanted, states: { ...states }, drift, converged });
    signal?.throwIfAborted();
    const conditions = await this.#standing.conclude(after, ending, ({ type, status, reason }) =>
      this.#hooks.emit({ type: "condition_changed", condition: type, status, reason }),
    );
    const heldBy = lookTerms.blockedBy() ?? "backoff";
    for (const action of outcomes.flatMap((outcome) => notBegunAfter(outcome, heldBy))) this.#notes.held(action);
    const held = [...found.composition.held, ...early, ...outcomes.flatMap((outcome) => heldAfter(outcome, heldBy))];
    const { wakeAt, dueAt, retryAt } = this.#nextPasses.after(after, outcomes);
    const report: PassReport = {
      generation: after.generation,
      actions: outcomes.flatMap(finishedOf),
      held,
      conditions: [...conditions],
      converged,
      ...(wakeAt === undefined ? {} : { nextWakeAt: wakeAt }),
    };
    const durationMs = stopwatch.elapsedMs();
    const actions = report.actions.length;
    this.#hooks.emit({ type: "pass_finished", durationMs, actions, held: held.length, converged });
    const isDone = isCut || outcomes.some(({ result }) => result === "done");
    const progress = isDone ? "some" : outcomes.length > 0 ? "stuck" : "none";
    return {
      report,
      progress,
      isBlind: isBlind(found),
      ...(retryAt === undefined ? {} : { retryAt }),
      ...(dueAt === undefined ? {} : { dueAt }),
    };
  }

  /** Those that may be taken, and those of shards that came while the ledger was looked at, and wait until it has been under their epochs. */
  #divided(steps: readonly Step[]): [may: readonly Step[], early: readonly HeldAction[]] {
    const isEarly = new Set(steps.filter(({ id }) => this.#epochs.isUnraised(id)));
    if (isEarly.size === 0) return [steps, []];
    const early = Array.from(isEarly, (step): HeldAction => ({ ...shown(step), heldBy: "notOwner" }));
    for (const action of early) this.#notes.held(action);
    return [steps.filter((step) => !isEarly.has(step)), early];
  }

  /** Of those who only ask. */
  #asked(terms: PassTerms): LedTerms {
    return { ...terms, leadership: presentLeadership(this.#settings.leader), isRefused: false };
  }

  /** Of a pass, which makes its epoch known. */
  async #begun(terms: PassTerms): Promise<LedTerms> {
    const asked = this.#asked(terms);
    const { leadership } = asked;
    if (!leadership.lasts()) return asked;
    if (leadership.epoch !== this.#epoch) this.forgetEmptyAnswers();
    this.#epoch = leadership.epoch;
    if (this.#hooks.isPaused()) return asked;
    for (const error of await this.#epochs.raise(leadership.epoch ?? 0))
      this.#hooks.emit({ type: "pass_failed", error });
    const { isRefused } = this.#epochs;
    if (isRefused) this.#notes.metrics.fenced();
    return { ...asked, isRefused };
  }

  #takeGeneration(generation: number): void {
    const { view } = this.#survey;
    const isNew = generation !== this.#generation;
    if (isNew) this.#retries.creationsAnew();
    if (isNew || this.#retries.size > view.size + MOST_FORGOTTEN_RETRIES)
      this.#retries.forgetExcept((id) => view.slot(id) !== undefined);
    this.#generation = generation;
  }

  #onOutcome(outcome: StepOutcome): void {
    const { reader, view } = this.#survey;
    const { step, row } = outcome;
    if (metLess(outcome)) view.doubt();
    else if (row !== undefined) view.applyRow(row);
    view.touch(step.id);
    // That of the pass that began it: what is desired may have changed since.
    const generation = this.#generationOf.get(step) ?? 0;
    const { terminateGraceMs } = this.#settings;
    recordRetry(this.#retries, outcome, { nowMs: reader.now(), generation, terminateGraceMs });
    this.#notes.ended(outcome);
    if (this.#late.has(step)) this.#creationsEnded([outcome]);
  }

  #creationsEnded(outcomes: readonly StepOutcome[]): void {
    const creations = outcomes.filter(({ step }) => step.type === "create" || step.type === "replace");
    if (creations.some(({ result }) => result === "done")) this.#retries.creationsAnew();
    const failed = creations.filter(({ result }) => result === "failed");
    if (failed.length === 0) return;
    const nowMs = this.#survey.reader.now();
    // Of what fails late, one by one, only the first of a batch counts.
    const isLate = failed.every(({ step }) => this.#late.has(step));
    if (isLate && (this.#retries.creationAt(nowMs) ?? 0) > nowMs) return;
    // Who was told when to come again is not kept waiting by the others.
    const asked = failed.map(({ error }) => (isRetryAfter(error) ? error.afterMs : Number.POSITIVE_INFINITY));
    this.#retries.creationsFailed(nowMs, Math.min(...asked));
  }

  #lookTerms({ signal, graceLeftMs, leadership }: LedTerms, mode: LookTerms["mode"]): LookTerms {
    const { clock } = this.#settings;
    const { epoch } = leadership;
    return {
      mode,
      context: {
        now: clock.now(),
        ...(epoch === undefined ? {} : { epoch }),
        signal: signal ?? NEVER_ABORTED,
      },
      blockedBy: () => (this.#hooks.isPaused() ? "paused" : leadership.lasts() ? undefined : "notLeader"),
      ...(graceLeftMs === undefined ? {} : { graceLeftMs }),
      isApproved: false,
    };
  }
}

const NEVER_ABORTED = new AbortController().signal;
