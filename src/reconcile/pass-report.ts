import type { FinishedAction, HeldAction, HeldBy, PlannedAction } from "./planned.ts";
import type { Step, StepOutcome } from "./step.ts";

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
export function heldAfter({ step, result }: StepOutcome, heldBy: HeldBy): HeldAction[] {
  if (result === "lost") return [{ ...shown(step), heldBy: "unknown" }];
  return result === "notBegun" ? [{ ...shown(step), heldBy }] : [];
}
