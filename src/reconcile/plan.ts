import { turnOfEventLoop } from "../clock.ts";
import { disruptionBudget, type MaxUnavailable } from "./disruption-budget.ts";
import { judgeMass, type MassGuardJudgement, type MassGuardSettings } from "./mass-guard.ts";
import { type HeldStep, planHash } from "./plan-hash.ts";
import { byId, byRank, type Candidate, inOrder, ranked, rankedBy } from "./plan-order.ts";
import type { HeldAction, HeldBy } from "./planned.ts";
import { Selection } from "./selection.ts";
import { isLive } from "./slot.ts";
import type { Step } from "./step.ts";
import type { SurplusOrder } from "./surplus.ts";
import type { Proposal, Verdict } from "./verdict.ts";

/** Held actions beyond what a pass may do are listed up to this many: of a million missing ones nobody reads a list. */
const MOST_LISTED = 500;
/** How many verdicts are weighed in one turn of the event loop. */
const SLICE = 250;

/** What the verdicts of the slots are weighed by. All moments are of the store's clock. */
export interface PlanContext {
  readonly nowMs: number;
  readonly generation: number;
  /** Nothing is done at all, for this reason. */
  readonly blockedBy?: HeldBy;
  /** Whether this process may act on the slot. */
  owns(id: string): boolean;
  /** Somebody has looked at the plan and wants it done: guards hold nothing. */
  readonly isApproved: boolean;
  readonly massGuard: MassGuardSettings | false;
  /** The slots that live, and those of them that were replaced for their silence a moment ago. */
  readonly live: number;
  readonly justReplaced: ReadonlySet<string>;
  readonly lastReplacementAt?: number;
  readonly maxUnavailable: MaxUnavailable;
  readonly desired: number;
  readonly maxActions: number;
  readonly surplus?: SurplusOrder<never>;
  /** How often an action has failed: those that always do come last, so that they keep nobody waiting. */
  failuresOf(retryKey: string): number;
  /** After a failed batch nothing is created before this. */
  readonly creationAt?: number;
}

/** What is to be done, in this order, and what is held. */
export interface Composition {
  readonly hash: string;
  readonly steps: readonly Step[];
  readonly held: readonly HeldAction[];
  /** How many more are held by the bound on actions than are listed. */
  readonly unlisted: number;
  /** `off` also where the guard has nothing before it: what was silent has been replaced. */
  readonly mass: MassGuardJudgement;
  /** The user's order of surplus failed: what it should have ranked is held. */
  readonly surplusFailure?: { readonly error: unknown };
  readonly nextAt?: number;
  readonly drift: Verdict["drift"];
  /** Nothing is to be done and nothing waited for, in the slots that are ours. */
  readonly isSettled: boolean;
}

/**
 * Weighs the verdicts of all slots against the bounds of the whole group. Pure: the same verdicts in whatever order make the same
 * plan. It gives way to the event loop now and then, because there may be a million.
 */
export async function compose(verdicts: Iterable<Verdict>, context: PlanContext): Promise<Composition> {
  const composer = new Composer(context);
  let count = 0;
  for (const verdict of verdicts) {
    if (!verdict.settled) composer.add(verdict);
    count += 1;
    if (count % SLICE === 0) await turnOfEventLoop();
  }
  return composer.finish();
}

class Composer {
  readonly #context: PlanContext;
  readonly #held: Selection<HeldStep>;
  readonly #lanes: Readonly<Record<Proposal["kind"], Selection<Candidate>>>;
  readonly #drift = { missing: 0, surplus: 0, stale: 0, outdated: 0 };
  #silent = 0;
  #silentAgain = 0;
  /** Silent ones that are gone, and are not made anew yet. */
  #silentGone = 0;
  #lastSilencedAt: number | undefined;
  #disrupted = 0;
  #nextAt: number | undefined;
  #isSettled = true;
  #surplusFailure: { readonly error: unknown } | undefined;

  constructor(context: PlanContext) {
    this.#context = context;
    const bound = context.maxActions + MOST_LISTED;
    const by = <T>(compare: (a: T, b: T) => number): Selection<T> =>
      new Selection(bound, {
        sort: (batch) => batch.sort(compare),
        isAfter: (item, other) => compare(item, other) > 0,
      });
    const byFailures = (a: Candidate, b: Candidate): number =>
      context.failuresOf(a.retryKey) - context.failuresOf(b.retryKey) || byId(a, b);
    const { surplus } = context;
    this.#held = by<HeldStep>(inOrder);
    this.#lanes = {
      ledger: by(byId),
      stale: by(byId),
      create: by(byFailures),
      terminate:
        surplus === undefined ? by(byRank) : new Selection(bound, { sort: (batch) => this.#ranked(surplus, batch) }),
      voluntary: by(byFailures),
    };
  }

  add(verdict: Verdict): void {
    const { drift, proposals, silencedAt, slot } = verdict;
    this.#drift.missing += drift.missing;
    this.#drift.surplus += drift.surplus;
    this.#drift.stale += drift.stale;
    this.#drift.outdated += drift.outdated;
    if (drift.stale > 0 || silencedAt !== undefined) {
      this.#silent += 1;
      if (this.#context.justReplaced.has(slot.id)) this.#silentAgain += 1;
      if (!slot.rows.some(isLive)) this.#silentGone += 1;
      if (silencedAt !== undefined) this.#lastSilencedAt = Math.max(silencedAt, this.#lastSilencedAt ?? silencedAt);
    }
    if (verdict.disrupted) this.#disrupted += 1;
    // Also another's: it may be nobody's by now, and who asks wants to hear of the group.
    this.#isSettled = false;
    const isOurs = this.#context.owns(slot.id);
    if (isOurs) this.#look(verdict.nextAt);
    for (const proposal of proposals) {
      const heldBy = this.#context.blockedBy ?? (isOurs ? proposal.heldBy : "notOwner");
      if (heldBy !== undefined && !this.#isLifted(heldBy)) this.#hold(proposal.step, heldBy);
      else if (proposal.kind === "terminate")
        this.#lanes.terminate.add(
          ranked(proposal, { deletionCost: slot.lastCost, withSpec: this.#context.surplus !== undefined }),
        );
      else this.#lanes[proposal.kind].add(proposal);
    }
  }

  finish(): Composition {
    const { maxActions, generation } = this.#context;
    const mass = this.#judgeMass();
    const ordered = [
      ...this.#lanes.ledger.first(),
      ...this.#creatable(this.#replacements(mass)),
      ...this.#creatable(this.#lanes.create.first()),
      ...this.#terminations(),
      ...this.#disruptions(),
    ].map(({ step }) => step);
    const steps = ordered.slice(0, maxActions);
    const over = ordered.slice(maxActions);
    for (const step of over.slice(0, MOST_LISTED)) this.#hold(step, "budget");
    if (over.length > 0) this.#look(this.#context.nowMs);
    const held = this.#held.first();
    const surplusFailure = this.#surplusFailure;
    const unlisted =
      Math.max(0, over.length - MOST_LISTED) +
      [this.#held, ...Object.values(this.#lanes)].reduce((sum, { dropped }) => sum + dropped, 0);
    return {
      hash: planHash(generation, steps, held),
      steps,
      held: held.map(({ step: _step, ...action }) => action),
      unlisted,
      mass: this.#silent > 0 ? mass : { mode: "off" },
      ...(surplusFailure === undefined ? {} : { surplusFailure }),
      ...(this.#nextAt === undefined ? {} : { nextAt: this.#nextAt }),
      drift: this.#drift,
      isSettled: this.#isSettled,
    };
  }

  /** What silent slots there are, those replaced a moment ago among them: an outage does not come all in one pass. */
  #judgeMass(): MassGuardJudgement {
    const { massGuard, live, justReplaced, nowMs, isApproved } = this.#context;
    if (isApproved) return { mode: "off" };
    const rows = live + this.#silentGone;
    const stale = Math.min(rows, this.#silent + justReplaced.size - this.#silentAgain);
    const moments = [this.#context.lastReplacementAt, this.#lastSilencedAt].filter((at) => at !== undefined);
    const last = moments.length === 0 ? {} : { lastReplacementAt: Math.max(...moments) };
    return judgeMass({ rows, stale, nowMs, ...last }, massGuard);
  }

  #replacements(mass: MassGuardJudgement): Candidate[] {
    const stale = this.#lanes.stale.first();
    if (mass.mode === "off") return stale;
    const isNext = mass.mode === "slow" && mass.nextReplacementAt <= this.#context.nowMs;
    // One slot with all that belongs to it.
    const chosen = isNext ? stale[0]?.step.id : undefined;
    if (mass.mode === "slow") {
      const { massGuard, nowMs } = this.#context;
      const intervalMs = massGuard === false ? 0 : massGuard.replacementIntervalMs;
      this.#look(isNext ? nowMs + intervalMs : mass.nextReplacementAt);
    }
    for (const { step } of stale) if (step.id !== chosen) this.#hold(step, "massGuard");
    return stale.filter(({ step }) => step.id === chosen);
  }

  /** After a failed batch no other creation is begun for a while, of whatever kind. */
  #creatable(candidates: Candidate[]): Candidate[] {
    const { creationAt, nowMs } = this.#context;
    if (creationAt === undefined || creationAt <= nowMs) return candidates;
    const waiting = candidates.filter(isCreation);
    if (waiting.length > 0) this.#look(creationAt);
    for (const { step } of waiting) this.#hold(step, "backoff");
    return candidates.filter((candidate) => !isCreation(candidate));
  }

  #disruptions(): Candidate[] {
    const { maxUnavailable, desired } = this.#context;
    const wanted = this.#creatable(this.#lanes.voluntary.first());
    const budget = disruptionBudget({ maxUnavailable, desired, unavailable: this.#disrupted });
    for (const { step } of wanted.slice(budget)) this.#hold(step, "budget");
    return wanted.slice(0, budget);
  }

  #isLifted(heldBy: HeldBy): boolean {
    return this.#context.isApproved && (heldBy === "unconfirmedEmpty" || heldBy === "massGuard");
  }

  #ranked(surplus: SurplusOrder<never>, batch: Candidate[]): Candidate[] {
    try {
      return rankedBy(surplus, batch);
    } catch (error) {
      this.#surplusFailure ??= { error };
      return batch.sort(byRank);
    }
  }

  /** Where the user's order failed, it is not known who is to go. */
  #terminations(): Candidate[] {
    const candidates = this.#lanes.terminate.first();
    if (this.#surplusFailure === undefined) return candidates;
    for (const { step } of candidates) this.#hold(step, "unknown");
    return [];
  }

  #hold(step: Step, heldBy: HeldBy): void {
    const { type, id, incarnation, reason } = step;
    this.#held.add({ type, id, incarnation, reason, heldBy, step });
  }

  #look(at: number | undefined): void {
    if (at !== undefined) this.#nextAt = Math.min(at, this.#nextAt ?? Number.POSITIVE_INFINITY);
  }
}

function isCreation({ step }: Candidate): boolean {
  return step.type === "create" || step.type === "replace";
}
