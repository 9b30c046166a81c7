import type { ResourceRecord } from "../resources/resource.ts";
import { resourceOf } from "../resources/resource-of.ts";
import type { HeldAction } from "./planned.ts";
import type { Step } from "./step.ts";
import { byDefault, compareNatural, rankSurplus, type SurplusCandidate, type SurplusOrder } from "./surplus.ts";
import type { Proposal } from "./verdict.ts";

/** A step that may be taken in its turn. */
export interface Candidate extends Proposal {
  /** What it is ranked by, where it is a termination. */
  readonly surplus?: SurplusCandidate;
}

/** A termination with what it is ranked by. Its spec is decoded, which takes time, only where somebody may look at it. */
export function ranked(
  proposal: Proposal,
  { deletionCost = 0, withSpec }: { readonly deletionCost: number | undefined; readonly withSpec: boolean },
): Candidate {
  const { step, isSilent = false } = proposal;
  return { ...proposal, surplus: { resource: recordOf(step, withSpec), stale: isSilent, deletionCost } };
}

/** By id, and then by incarnation: what fails before what replaces it. */
export function byId(a: Candidate, b: Candidate): number {
  return compareNatural(a.step.id, b.step.id) || a.step.incarnation - b.step.incarnation;
}

/** Terminations in the default order of surplus. */
export function byRank(a: Candidate, b: Candidate): number {
  const [one, other] = [a.surplus, b.surplus];
  return one === undefined || other === undefined ? 0 : byDefault(one, other);
}

/** In an order of the user's, which may not be one, and so has to see all at once. */
export function rankedBy(order: SurplusOrder<never>, batch: Candidate[]): Candidate[] {
  const byCandidate = new Map(
    batch.sort(byRank).flatMap((one) => (one.surplus === undefined ? [] : [[one.surplus, one]])),
  );
  return rankSurplus(byCandidate.keys(), order as SurplusOrder).flatMap((ranked) => byCandidate.get(ranked) ?? []);
}

/** What is held, by what it is of: equal only for what looks the same. */
export function inOrder(a: HeldAction, b: HeldAction): number {
  return (
    compareNatural(a.id, b.id) ||
    a.incarnation - b.incarnation ||
    compareTexts(a.type, b.type) ||
    compareTexts(a.reason, b.reason) ||
    compareTexts(a.heldBy, b.heldBy)
  );
}

function compareTexts(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

/** The resource that a termination is of; one without a row is younger than all. */
function recordOf(step: Step, withSpec: boolean): ResourceRecord {
  if ("row" in step && step.row !== undefined) {
    // What the default order looks at is the same in both; the rest takes time.
    return withSpec ? resourceOf(step.row) : step.row;
  }
  const { id, incarnation } = step;
  return {
    group: "",
    id,
    incarnation,
    state: "FAILED",
    generation: 0,
    createdAt: Number.MAX_SAFE_INTEGER,
    fencingToken: 0,
    version: 0,
  };
}
