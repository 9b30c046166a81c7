import { heldExplanation } from "./explanations.ts";
import type { Composition } from "./plan.ts";
import type { Explanation, FinishedAction, HeldAction, HeldBy, PlannedAction } from "./planned.ts";
import type { Step, StepOutcome } from "./step.ts";
import type { Proposal, Verdict } from "./verdict.ts";

/** What a plan shows of a step. */
export function shown({ type, id, incarnation, reason }: Step): PlannedAction {
  return { type, id, incarnation, reason };
}

/** What a report says of a step that was taken; nothing of one that was not. */
export function finishedOf({ step, result, row, error }: StepOutcome): FinishedAction[] {
  if (result === "lost" || result === "notBegun") return [];
  const incarnation = row?.id === step.id && "how" in step ? row.incarnation : step.incarnation;
  return [{ ...shown(step), incarnation, result, ...(result === "failed" ? { error } : {}) }];
}

/** What was planned and not done is held, by what came in between. */
export function heldAfter(outcome: StepOutcome, heldBy: HeldBy): HeldAction[] {
  if (outcome.result === "lost") return [{ ...shown(outcome.step), heldBy: "unknown" }];
  return notBegunAfter(outcome, heldBy);
}

/** What was planned and not even begun. */
export function notBegunAfter({ step, result }: StepOutcome, heldBy: HeldBy): HeldAction[] {
  return result === "notBegun" ? [{ ...shown(step), heldBy }] : [];
}

/** How it stands with what a slot calls for: held, or done in the next pass. */
export function standsOf({ steps, held }: Composition, { slot, proposals }: Verdict) {
  const of = <T extends PlannedAction>(actions: readonly T[], { step }: Proposal): T | undefined =>
    actions.find(
      ({ id, type, incarnation }) => id === slot.id && type === step.type && incarnation === step.incarnation,
    );
  return proposals.map((proposal): Pick<Explanation, "action" | "outcome" | "reason"> => {
    const { step, heldBy = "budget" } = proposal;
    if (of(steps, proposal) !== undefined) return { action: step.type, outcome: "skipped", reason: "NextPass" };
    // Of very many only the first are listed.
    return heldExplanation(of(held, proposal) ?? { ...shown(step), heldBy });
  });
}
