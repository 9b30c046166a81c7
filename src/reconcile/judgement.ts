import type { ResourceRow } from "../store.ts";
import type { HeldBy } from "./planned.ts";
import { nextReplacementAt } from "./replacement-backoff.ts";
import { SILENCE } from "./silent-replacements.ts";
import { heardOf, type Matches, matchItems, newestOf, type Slot } from "./slot.ts";
import { type Step, specOf } from "./step.ts";
import { type Health, type JudgeContext, type Proposal, retryKeyOf, type Verdict } from "./verdict.ts";

/** Why a resource ended without being asked to: what the backoff of replacements counts. */
const UNEXPECTED: ReadonlySet<string | undefined> = new Set([...SILENCE, "NotObserved"]);

type Drift = Verdict["drift"];
type NextStep = Extract<Step, { how: "next" }>;

/** Whether a row ended, or is ending, because it fell silent or ill. */
export function endedInSilence({ state, reason }: ResourceRow): boolean {
  return state !== "PENDING" && state !== "PROVISIONED" && SILENCE.has(reason);
}

/** Whether a row ended without being asked to. */
export function endedUnexpectedly({ reason }: ResourceRow): boolean {
  return UNEXPECTED.has(reason);
}

/** The judgement of one slot as it comes about: what is known of it, and what has been found so far. */
export class Judgement {
  readonly slot: Slot;
  readonly context: JudgeContext;
  readonly matches: Matches;
  readonly #proposals: Proposal[] = [];
  readonly #drift: { -readonly [Kind in keyof Drift]: Drift[Kind] } = { missing: 0, surplus: 0, stale: 0, outdated: 0 };
  #nextAt: number | undefined;
  #waits = false;
  #disrupted = false;

  constructor(slot: Slot, context: JudgeContext) {
    this.slot = slot;
    this.context = context;
    this.matches = matchItems(slot);
  }

  verdict(): Verdict {
    const newest = newestOf(this.slot);
    const isReplaced = this.slot.wanted !== undefined || newest?.state === "FAILED";
    return {
      slot: this.slot,
      proposals: this.#proposals,
      settled: this.#proposals.length === 0 && !this.#waits,
      ...(this.#nextAt === undefined ? {} : { nextAt: this.#nextAt }),
      drift: this.#drift,
      disrupted: this.#disrupted,
      ...(newest !== undefined && isReplaced && endedInSilence(newest) ? { silencedAt: newest.stateChangedAt } : {}),
    };
  }

  // ---------------------------------------------------------------------------------------- what was found

  drifts(kind: keyof Drift, by = 1): void {
    this.#drift[kind] += by;
  }

  /** Something is under way, or can't be known yet. */
  waits(): void {
    this.#waits = true;
  }

  /** What is wanted here is not available, or something comes or goes in its place. */
  disrupts(): void {
    this.#disrupted = true;
  }

  /** Time alone may change the verdict then. */
  looksAt(at: number | undefined): void {
    if (at !== undefined) this.#nextAt = Math.min(at, this.#nextAt ?? Number.POSITIVE_INFINITY);
  }

  /** @param until - when what holds it ends by itself. */
  proposes(
    kind: Proposal["kind"],
    step: Step,
    held: { readonly by?: HeldBy | undefined; readonly until?: number } = {},
  ) {
    this.looksAt(held.until);
    const heldBy = held.by ?? this.#backoffOf(step);
    this.#proposals.push({ step, kind, retryKey: stepKey(step), ...(heldBy === undefined ? {} : { heldBy }) });
  }

  /** Proposes a step that has to wait for a moment of its own. */
  proposesAt(kind: Proposal["kind"], step: Step, at: number, heldBy?: HeldBy): void {
    if (heldBy === undefined && !this.hasPassed(at)) this.proposes(kind, step, { by: "backoff", until: at });
    else this.proposes(kind, step, { by: heldBy });
  }

  /** What is called first to end something: without a grace period what ends it for sure. */
  get endType(): "terminate" | "forceTerminate" {
    const { canForce, terminateGraceMs } = this.context;
    return canForce && terminateGraceMs === 0 ? "forceTerminate" : "terminate";
  }

  /** Proposes a termination. What has fallen silent goes before what works. */
  proposesEnd(step: Step, heldBy: HeldBy | undefined, isSilent: boolean): void {
    const by = heldBy ?? this.#backoffOf(step);
    const proposal: Proposal = { step, kind: "terminate", retryKey: stepKey(step), isSilent };
    this.#proposals.push(by === undefined ? proposal : { ...proposal, heldBy: by });
  }

  #backoffOf(step: Step): "backoff" | undefined {
    if (step.type === "fail" || step.type === "drop" || step.type === "adopt") return undefined;
    const retryAt = this.context.retryOf(stepKey(step), specOf(step));
    if (retryAt === undefined) return undefined;
    if (retryAt === "blocked") return "backoff";
    if (this.hasPassed(retryAt)) return undefined;
    this.looksAt(retryAt);
    return "backoff";
  }

  // -------------------------------------------------------------------------------------------- what is known

  hasPassed(at: number): boolean {
    return this.context.nowMs >= at;
  }

  /** Whether the observation was asked for at this moment or later. */
  isObservedSince(at: number): boolean {
    return (this.context.observedAt ?? this.context.nowMs) >= at;
  }

  /** Whether the row's resource was observed. */
  isObserved({ incarnation }: ResourceRow): boolean {
    return this.matches.byIncarnation.has(incarnation);
  }

  /**
   * Whether a PROVISIONED row is well. One whose beats come by observing is not silent because an answer lacks it that says nothing
   * of what it lacks.
   */
  health(row: ResourceRow): Health {
    const { observed, healthOf } = this.context;
    const item = this.matches.byIncarnation.get(row.incarnation);
    const isUntold = item === undefined && (observed === "partial" || observed === "unconfirmed");
    if (isUntold && heardOf(this.slot, row)?.beatAt !== undefined) return { verdict: "fresh" };
    return healthOf(row, item);
  }

  /** Whether somebody acts on the row. Then that is waited for. */
  isHeld({ leaseExpiresAt }: ResourceRow): boolean {
    if (leaseExpiresAt === undefined || this.hasPassed(leaseExpiresAt)) return false;
    this.waits();
    this.looksAt(leaseExpiresAt);
    return true;
  }

  /** Whether a complete observation lacks it, and did not just fail to show it yet. */
  isGone(row: ResourceRow): boolean {
    if (this.context.observed !== "complete" || this.isObserved(row)) return false;
    // What was observed does not say which incarnation it is: it may be this one, unless that was asked to end.
    if (this.matches.isAmbiguous && !this.#hasAcceptedEnd(row)) return false;
    const isGoneAt = this.shownBy(row);
    if (this.isObservedSince(isGoneAt)) return true;
    if (isGoneAt < Number.POSITIVE_INFINITY) this.looksAt(isGoneAt);
    return false;
  }

  /** By when `observe` has to show the row's resource, if it is there; never, where nobody knows when it may have been made. */
  shownBy({ state, createdAt, provisionedAt, leaseExpiresAt, stateChangedAt }: ResourceRow): number {
    const { observeGraceMs } = this.context;
    if (provisionedAt !== undefined) return provisionedAt + observeGraceMs;
    // A creation may have been at work until its lease lapsed; one that threw may have done its work a moment ago.
    if (state === "PENDING") return (leaseExpiresAt ?? Number.POSITIVE_INFINITY) + observeGraceMs;
    return Math.max(createdAt, stateChangedAt) + observeGraceMs;
  }

  #hasAcceptedEnd({ state, id, incarnation }: ResourceRow): boolean {
    const { acceptedAt } = this.context;
    return (
      state === "TERMINATING" &&
      (acceptedAt(retryKeyOf("terminate", id, incarnation)) !== undefined ||
        acceptedAt(retryKeyOf("forceTerminate", id, incarnation)) !== undefined)
    );
  }

  /** When the next incarnation may be made in place of a row that ended unexpectedly. */
  replacementAt(row: ResourceRow, failedAt: number): number {
    const previous = this.slot.rows
      .filter(({ incarnation }) => incarnation < row.incarnation)
      .reverse()
      .map((older) => ({
        ...(older.provisionedAt === undefined ? {} : { provisionedAt: older.provisionedAt }),
        endedAt: older.stateChangedAt,
        unexpected: endedUnexpectedly(older),
      }));
    return nextReplacementAt({
      id: row.id,
      incarnation: row.incarnation,
      failedAt,
      ...(row.provisionedAt === undefined ? {} : { provisionedAt: row.provisionedAt }),
      previous,
    });
  }

  /** The step that makes the next incarnation after `newest`, and marks `gone` TERMINATED before. */
  next(type: NextStep["type"], newest: ResourceRow | undefined, reason: string, gone?: ResourceRow): NextStep {
    const after = newest?.incarnation ?? 0;
    const { id, wanted } = this.slot;
    return {
      type,
      how: "next",
      id,
      incarnation: after + 1,
      reason,
      after,
      ...(gone === undefined ? {} : { gone }),
      ...(wanted?.spec === undefined ? {} : { spec: wanted.spec }),
      generation: this.context.generation,
    };
  }
}

/** The retry key of a step. */
export function stepKey(step: Step): string {
  const externalId = "externalId" in step ? step.externalId : undefined;
  return retryKeyOf(step.type, step.id, step.incarnation, externalId);
}
