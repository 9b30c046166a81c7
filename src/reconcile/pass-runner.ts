import { onAbort } from "../abort-listeners.ts";
import { Stopwatch, type Timer } from "../clock.ts";
import type { ReconcilerEvent } from "../events.ts";
import { invalidOptions } from "../option-rules.ts";
import { storeOperation } from "../store-operation.ts";
import { type ConditionReasons, nextConditions, statusOf, statusText } from "./conditions.ts";
import { Executor } from "./executor.ts";
import { Explanations } from "./explanations.ts";
import type { MetricSample } from "./metric-sample.ts";
import type {
  Condition,
  Explanation,
  FinishedAction,
  HeldAction,
  HeldBy,
  PassReport,
  Plan,
  PlannedAction,
} from "./planned.ts";
import { ReconcilerMetrics } from "./reconciler-metrics.ts";
import type { ReconcilerStatus } from "./reconciler-status.ts";
import { Retries, recordRetry } from "./retries.ts";
import type { ReconcilerSettings } from "./settings.ts";
import type { Step, StepOutcome } from "./step.ts";
import { type Found, type LookTerms, reasonOf, Survey } from "./survey.ts";

/** How soon an own `observe` is asked again whether what was done shows; doubled each time that it doesn't. */
const LOOK_AGAIN_MS = 1_000;

/** Under what terms a pass runs. */
export interface PassTerms {
  /** Ends callbacks that run. */
  readonly signal?: AbortSignal | undefined;
  /** For how long yet nobody is declared dead, in milliseconds. Defaults to 0. */
  readonly graceMs?: number;
  /** Whether anything new may begin. Defaults to always. */
  readonly mayBegin?: () => boolean;
  /** Ends the pass early; what was begun goes on. Defaults to never. */
  readonly interruption?: Interruption;
}

/** Somebody who may not want to wait until a pass is over. */
export interface Interruption {
  /** Calls back once, when that is so. */
  onRequest(end: () => void): void;
}

/** What a pass came to: whether it got on, had nothing to do, or tried and got nowhere. */
export interface PassResult {
  readonly report: PassReport;
  readonly progress: "some" | "none" | "stuck";
  /** `observe` or `desired` could not be relied on. */
  readonly isBlind: boolean;
}

type DistributiveOmit<T, Key extends PropertyKey> = T extends unknown ? Omit<T, Key> : never;
/** An event without what all of a reconciler's have. */
export type BareEvent = DistributiveOmit<ReconcilerEvent, "at" | "reconciler">;

export interface PassHooks {
  emit(event: BareEvent): void;
  /** Something that an earlier pass began has ended. */
  onLateOutcome(): void;
  isPaused(): boolean;
}

/** Runs passes: looks, does what follows from it, and says how things stand then. */
export class PassRunner<Spec> {
  readonly #settings: ReconcilerSettings<Spec>;
  readonly #hooks: PassHooks;
  readonly #retries: Retries;
  readonly #survey: Survey<Spec>;
  readonly #executor: Executor<Spec>;
  readonly #explanations = new Explanations();
  readonly #metrics: ReconcilerMetrics;
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #listeners = new Set<(outcome: StepOutcome) => void>();
  /** Executions whose pass has ended before them. */
  #late = 0;
  #conditions: readonly Condition[] | undefined;
  #keptStatus: string | undefined;
  #generation: number | undefined;
  #observedGeneration = 0;
  #lookAgainMs = LOOK_AGAIN_MS;

  constructor(settings: ReconcilerSettings<Spec>, hooks: PassHooks) {
    const { name, store, clock, random, actionTimeoutMs, terminateGraceMs, concurrency, storeTimeoutMs } = settings;
    const { leader, shards, create, terminate, forceTerminate, update } = settings;
    this.#settings = settings;
    this.#hooks = hooks;
    this.#retries = new Retries(random);
    this.#metrics = new ReconcilerMetrics(name, clock);
    this.#executor = new Executor<Spec>({
      store,
      group: name,
      clock,
      random,
      callbacks: { create, terminate, forceTerminate, update },
      leaseMs: actionTimeoutMs,
      actionTimeoutMs,
      terminateGraceMs,
      concurrency,
      storeTimeoutMs,
      ownObserve: settings.observe !== undefined,
      gate: {
        epoch: () => leader?.epoch ?? 0,
        isAllowed: (id) => (leader?.isLeader() ?? true) && (shards?.owns(id) ?? true),
      },
      onOutcome: (outcome) => this.#onOutcome(outcome),
    });
    this.#survey = new Survey(settings, this.#retries, (id) => this.#executor.busy.has(id));
  }

  async plan(terms: PassTerms): Promise<Plan> {
    const found = await this.#survey.look(this.#lookTerms(terms, "dry"));
    const { hash, steps, held } = found.composition;
    const at = this.#nextWakeAt(found);
    return {
      hash,
      generation: found.generation,
      actions: steps.map(shown),
      held: [...held],
      conditions: this.#nextConditions(found, false),
      ...(at === undefined ? {} : { nextWakeAt: at }),
    };
  }

  async run(terms: PassTerms): Promise<PassResult> {
    const lookTerms = this.#lookTerms(terms, "real");
    return this.#carryOut(await this.#survey.look(lookTerms), lookTerms, terms);
  }

  /** @throws EvenkeelError `INVALID_OPTIONS` if the plan is another one by now. */
  async approve(terms: PassTerms, hash: string): Promise<PassResult> {
    const lookTerms = this.#lookTerms(terms, "real");
    const found = await this.#survey.look({ ...lookTerms, mode: "dry" });
    if (found.composition.hash !== hash)
      throw invalidOptions("Reconciler.approve", "the plan is another one by now: look at plan() again");
    const approved = { ...lookTerms, isApproved: true };
    return this.#carryOut(await this.#survey.review(approved, found), approved, terms);
  }

  async status(terms: PassTerms): Promise<Omit<ReconcilerStatus, "name" | "paused" | "leader">> {
    const found = await this.#survey.reread(this.#lookTerms(terms, "dry"));
    const { composition, generation, stored } = found;
    const { view } = this.#survey;
    const status = statusOf(stored.status);
    const conditions = this.#conditions ?? status.conditions;
    const isKnown = !conditions.some(
      ({ type, status: holds }) => holds && (type === "ObserveFailed" || type === "DesiredFailed"),
    );
    return {
      generation,
      observedGeneration: Math.max(status.observedGeneration, this.#observedGeneration),
      desired: view.wanted,
      observed: { ...view.states },
      drift: composition.drift,
      converged: isKnown && isConverged(found),
      conditions: [...conditions],
    };
  }

  async explain(id: string, terms: PassTerms): Promise<Explanation[]> {
    const lookTerms = this.#lookTerms(terms, "dry");
    await this.#survey.reread(lookTerms);
    const verdict = this.#survey.verdictOf(id, lookTerms);
    const known = this.#explanations.of(id);
    if (verdict === undefined) return [...known];
    const at = this.#settings.clock.now();
    const isWaiting = this.#executor.busy.has(id) || !verdict.settled;
    if (verdict.proposals.length > 0 && known.length > 0) return [...known];
    const reason = isWaiting ? "InProgress" : "AsDesired";
    return [...known, { at, action: "none", outcome: "skipped", reason }];
  }

  metrics(): MetricSample[] {
    return this.#metrics.samples();
  }

  wake(id?: string): void {
    this.#retries.wake(id);
    if (id !== undefined) this.#survey.view.touch(id);
  }

  /** Resolves once nothing is under way. */
  async idle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
  }

  // -------------------------------------------------------------------------------------------------- a pass

  async #carryOut(found: Found, lookTerms: LookTerms, terms: PassTerms): Promise<PassResult> {
    const { clock } = this.#settings;
    const stopwatch = new Stopwatch(clock);
    const { generation, composition, unknowns } = found;
    for (const { of, error } of unknowns) this.#hooks.emit({ type: "answer_unknown", of, error });
    if (found.isFenced) this.#metrics.fenced();
    if (generation !== this.#generation) {
      this.#generation = generation;
      this.#retries.creationsAnew();
      this.#retries.forgetExcept((id) => this.#survey.view.slot(id) !== undefined);
    }
    this.#noteHeld(composition.held, composition.unlisted);
    const outcomes = await this.#execute(composition.steps, terms, found);
    this.#creationsEnded(outcomes);
    const isDone = outcomes.some(({ result }) => result === "done");
    const after = await this.#survey.review({ ...lookTerms, isApproved: false }, found);
    const conditions = await this.#conclude(after, lookTerms, outcomes);
    const isPaused = this.#hooks.isPaused();
    const held = [
      ...composition.held,
      ...outcomes.flatMap((outcome) => heldAfter(outcome, isPaused ? "paused" : "backoff")),
    ];
    const at = this.#nextWakeAt(after, outcomes);
    const report: PassReport = {
      generation: after.generation,
      actions: outcomes.flatMap(finishedOf),
      held,
      conditions: [...conditions],
      converged: isConverged(after),
      ...(at === undefined ? {} : { nextWakeAt: at }),
    };
    const durationMs = stopwatch.elapsedMs();
    const { converged, actions } = report;
    this.#hooks.emit({ type: "pass_finished", durationMs, actions: actions.length, held: held.length, converged });
    const progress = isDone ? "some" : outcomes.length > 0 ? "stuck" : "none";
    return { report, progress, isBlind: unknowns.length > 0 };
  }

  /** @returns what became of the steps, as far as that is known when the pass ends. */
  async #execute(steps: readonly Step[], terms: PassTerms, found: Found): Promise<StepOutcome[]> {
    if (steps.length === 0) return [];
    const { interruption, mayBegin = () => true } = terms;
    const settled: StepOutcome[] = [];
    const own = new Set(steps);
    const listener = (outcome: StepOutcome): void => {
      if (own.has(outcome.step)) settled.push(outcome);
    };
    this.#listeners.add(listener);
    let isCut = false;
    const ending = this.#ending(terms.signal);
    const execution = this.#executor
      .execute(steps, {
        signal: ending.signal,
        mayBegin: () => !isCut && mayBegin() && !this.#hooks.isPaused(),
      })
      .finally(() => {
        ending.stopListening();
        this.#listeners.delete(listener);
        this.#underWay.delete(execution);
      });
    this.#underWay.add(execution);
    const cut = interruption === undefined ? undefined : this.#cut(interruption, found);
    const outcomes = await Promise.race([execution, ...(cut === undefined ? [] : [cut.happened])]).finally(cut?.clear);
    if (outcomes !== undefined) return outcomes;
    isCut = true;
    this.#late += 1;
    // What fails from now on has no pass to fail.
    execution
      .catch((error: unknown) => this.#hooks.emit({ type: "pass_failed", error }))
      .finally(() => {
        this.#late -= 1;
        this.#hooks.onLateOutcome();
      });
    return [...settled];
  }

  /** Aborts when the reconciler stops or the leadership ends. */
  #ending(signal: AbortSignal | undefined): { readonly signal: AbortSignal; stopListening(): void } {
    const controller = new AbortController();
    const stops = [signal, this.#settings.leader?.signal].map((end) =>
      onAbort(end, () => controller.abort(end?.reason)),
    );
    for (const end of [signal, this.#settings.leader?.signal]) if (end?.aborted) controller.abort(end.reason);
    return {
      signal: controller.signal,
      stopListening: () => {
        for (const stop of stops) stop();
      },
    };
  }

  /** When a pass is not waited for any longer: somebody asks, or a resource may have fallen silent meanwhile. */
  #cut(interruption: Interruption, { silenceAt }: Found): { readonly happened: Promise<undefined>; clear(): void } {
    const { clock } = this.#settings;
    let timer: Timer | undefined;
    const happened = new Promise<undefined>((resolve) => {
      const end = (): void => resolve(undefined);
      interruption.onRequest(end);
      if (silenceAt !== undefined)
        timer = clock.setTimer(Math.max(1, this.#survey.reader.local(silenceAt) - clock.now()), end);
    });
    return { happened, clear: () => timer?.clear() };
  }

  #onOutcome(outcome: StepOutcome): void {
    const { reader, view } = this.#survey;
    const { step, result, row, error } = outcome;
    if (row !== undefined) view.applyRow(row);
    view.touch(step.id);
    recordRetry(this.#retries, outcome, { nowMs: reader.now(), generation: this.#generation ?? 0 });
    for (const listener of this.#listeners) listener(outcome);
    const { type: action, id, incarnation, reason } = step;
    const { leader, clock } = this.#settings;
    const epoch = leader?.epoch;
    const withEpoch = epoch === undefined ? {} : { epoch };
    if (result === "done" || result === "failed" || result === "fenced") {
      this.#metrics.acted(action, result);
      const withError = result === "failed" ? { error } : {};
      this.#hooks.emit({
        type: "action_finished",
        action,
        id,
        incarnation,
        reason,
        result,
        ...withError,
        ...withEpoch,
      });
      this.#explanations.note(id, { at: clock.now(), action, outcome: result, reason, ...withEpoch });
    } else {
      const why = result === "lost" ? "AnotherWriterWasFirst" : "PassEnded";
      this.#explanations.note(id, { at: clock.now(), action, outcome: "skipped", reason: why, ...withEpoch });
    }
  }

  #creationsEnded(outcomes: readonly StepOutcome[]): void {
    const creations = outcomes.filter(({ step }) => step.type === "create" || step.type === "replace");
    const isDone = creations.some(({ result }) => result === "done");
    if (isDone) this.#retries.creationsAnew();
    if (creations.some(({ result }) => result === "failed")) this.#retries.creationsFailed(this.#survey.reader.now());
  }

  #noteHeld(held: readonly HeldAction[], unlisted: number): void {
    const { clock, leader } = this.#settings;
    const epoch = leader?.epoch;
    for (const { id, type: action, reason, heldBy } of held) {
      this.#metrics.held(heldBy);
      const why = `${reason}, held by ${heldBy}`;
      this.#explanations.note(id, {
        at: clock.now(),
        action,
        outcome: "held",
        reason: why,
        ...(epoch === undefined ? {} : { epoch }),
      });
    }
    if (unlisted > 0) this.#metrics.held("budget", unlisted);
  }

  // -------------------------------------------------------------------------------------------- how it stands

  /** Says how things stand after a pass, here and, if that is news, in the ledger. */
  async #conclude(found: Found, terms: LookTerms, outcomes: readonly StepOutcome[]): Promise<readonly Condition[]> {
    const isFenced = found.isFenced || outcomes.some(({ result }) => result === "fenced");
    const { view } = this.#survey;
    const before = this.#conditions ?? statusOf(found.stored.status).conditions;
    const conditions = this.#nextConditions(found, isFenced);
    this.#conditions = conditions;
    for (const { type, status, reason } of conditions) {
      const known = before.find((condition) => condition.type === type);
      if (known?.status !== status) this.#hooks.emit({ type: "condition_changed", condition: type, status, reason });
    }
    const { drift } = found.composition;
    this.#metrics.measured({ desired: view.wanted, states: { ...view.states }, drift, converged: isConverged(found) });
    if (found.unknowns.length === 0) this.#observedGeneration = found.generation;
    if (terms.blockedBy === undefined && !isFenced) await this.#keepStatus(found, conditions);
    return conditions;
  }

  #nextConditions(found: Found, isFenced: boolean): Condition[] {
    const before = this.#conditions ?? statusOf(found.stored.status).conditions;
    return nextConditions(before, this.#reasons(found, isFenced), this.#settings.clock.now());
  }

  #reasons(found: Found, isFenced: boolean): ConditionReasons {
    const { composition, unknowns, desired, observed } = found;
    const failed = (of: string) => unknowns.find((unknown) => unknown.of === of);
    const [observe, wanted, staleness] = [failed("observe"), failed("desired"), failed("staleness")];
    const converged = isConverged(found);
    const isTrue = (type: string, reason: string | undefined): ConditionReasons =>
      reason === undefined ? {} : { [type]: { status: true, reason } };
    const { mode } = composition.mass;
    const unconfirmed = [
      ...(desired === "unconfirmed" ? ["desired"] : []),
      ...(observed === "unconfirmed" ? ["observe"] : []),
    ];
    return {
      Converged: { status: converged, reason: converged ? "AsDesired" : whyNotConverged(found) },
      ...isTrue("ObserveFailed", observe && reasonOf(observe.error)),
      ...isTrue("DesiredFailed", wanted && reasonOf(wanted.error)),
      ...isTrue("StalenessFailed", staleness && reasonOf(staleness.error)),
      ...isTrue("MassStaleness", mode === "off" ? undefined : mode === "hold" ? "Held" : "Slowed"),
      ...isTrue("UnconfirmedEmpty", unconfirmed.length === 0 ? undefined : unconfirmed.join()),
      ...isTrue("Paused", this.#hooks.isPaused() ? "Paused" : undefined),
      ...isTrue("NotLeader", this.#settings.leader?.isLeader() === false ? "NotLeader" : undefined),
      ...isTrue("Fenced", isFenced ? "LaterEpoch" : undefined),
    };
  }

  /** The observed generation and the conditions go in one write, and only when they changed. */
  async #keepStatus(found: Found, conditions: readonly Condition[]): Promise<void> {
    const { store, name, clock, random, storeTimeoutMs, leader, shards } = this.#settings;
    // One member speaks for the group.
    if (shards !== undefined && !shards.owns(name)) return;
    const kept = conditions.filter(({ type }) => type !== "NotLeader" && type !== "Fenced" && type !== "Paused");
    const status = statusText({ observedGeneration: this.#observedGeneration, conditions: kept });
    if (status === (this.#keptStatus ?? found.stored.status)) return;
    const request = { group: name, epoch: leader?.epoch ?? 0, writes: [], status };
    const result = await storeOperation({
      clock,
      random,
      budgetMs: storeTimeoutMs,
      send: (call) => store.resources.apply(request, call),
    });
    if (result.status === "fenced") this.#metrics.fenced();
    else this.#keptStatus = status;
  }

  /** When the next pass is due, by our clock. */
  #nextWakeAt(found: Found, outcomes: readonly StepOutcome[] = []): number | undefined {
    const { clock, observe, staleness, resyncIntervalMs } = this.#settings;
    const { composition, silenceAt } = found;
    const { reader } = this.#survey;
    if (composition.steps.length > 0) return clock.now();
    const moments = [composition.nextAt, silenceAt].flatMap((at) => (at === undefined ? [] : [reader.local(at)]));
    if (outcomes.some(({ step, result }) => result === "done" && (step.type === "create" || step.type === "replace")))
      moments.push(clock.now() + (staleness.quietMs ?? 0) + 1);
    if (observe !== undefined && !composition.isSettled && outcomes.length + found.unknowns.length >= 0) {
      const isNews = outcomes.some(({ result }) => result === "done");
      this.#lookAgainMs = isNews ? LOOK_AGAIN_MS : Math.min(this.#lookAgainMs * 2, resyncIntervalMs);
      moments.push(clock.now() + this.#lookAgainMs);
    }
    return moments.length === 0 ? undefined : Math.max(clock.now(), Math.min(...moments));
  }

  #lookTerms({ signal, graceMs = 0 }: PassTerms, mode: LookTerms["mode"]): LookTerms {
    const { clock, leader } = this.#settings;
    const blockedBy: HeldBy | undefined = this.#hooks.isPaused()
      ? "paused"
      : leader?.isLeader() === false
        ? "notLeader"
        : undefined;
    const epoch = leader?.epoch;
    return {
      mode,
      context: {
        now: clock.now(),
        ...(epoch === undefined ? {} : { epoch }),
        signal: signal ?? NEVER_ABORTED,
      },
      ...(blockedBy === undefined ? {} : { blockedBy }),
      ...(graceMs === 0 ? {} : { graceUntil: this.#survey.reader.now() + graceMs }),
      isApproved: false,
    };
  }
}

const NEVER_ABORTED = new AbortController().signal;

/** Whether observed equals desired, as far as both are known. */
function isConverged({ composition, unknowns, desired, observed }: Found): boolean {
  const isKnown = desired === "complete" && (observed === "complete" || observed === "ledger") && unknowns.length === 0;
  return isKnown && composition.isSettled;
}

function whyNotConverged({ composition, unknowns, desired, observed }: Found): string {
  const [unknown] = unknowns;
  if (unknown !== undefined) return `${unknown.of}Failed`;
  if (desired === "unset") return "NothingDesiredYet";
  if (desired === "partial" || observed === "partial") return "PartialAnswer";
  return composition.held.length > 0 && composition.steps.length === 0 ? "Held" : "InProgress";
}

function shown({ type, id, incarnation, reason }: Step): PlannedAction {
  return { type, id, incarnation, reason };
}

function finishedOf({ step, result, row, error }: StepOutcome): FinishedAction[] {
  if (result === "lost" || result === "notBegun") return [];
  const incarnation = row?.id === step.id && "how" in step ? row.incarnation : step.incarnation;
  return [{ ...shown(step), incarnation, result, ...(result === "failed" ? { error } : {}) }];
}

/** What was planned and not done is held, by what came in between. */
function heldAfter({ step, result }: StepOutcome, heldBy: HeldBy): HeldAction[] {
  if (result === "lost") return [{ ...shown(step), heldBy: "unknown" }];
  return result === "notBegun" ? [{ ...shown(step), heldBy }] : [];
}
