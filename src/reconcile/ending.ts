import type { ResourceRow } from "../store.ts";
import { type Judgement, stepKey } from "./judgement.ts";
import type { HeldBy } from "./planned.ts";
import { isLive } from "./slot.ts";
import type { Step } from "./step.ts";

type EndStep = Extract<Step, { type: "terminate" | "forceTerminate" }>;

/** Ends a row that is not on its way out yet. */
export function end(
  judgement: Judgement,
  row: ResourceRow,
  {
    reason,
    heldBy,
    isSilent = false,
  }: { readonly reason: string; readonly heldBy?: HeldBy; readonly isSilent?: boolean },
): void {
  if (judgement.isHeld(row)) return;
  const { id, incarnation } = row;
  if (isUnmade(judgement, row) || judgement.isGone(row)) {
    const why = row.state === "PENDING" ? reason : "NotObserved";
    judgement.proposes("ledger", { type: "drop", id, incarnation, reason: why, row }, { by: heldBy });
    return;
  }
  judgement.proposesEnd({ type: judgement.endType, id, incarnation, reason, row, again: false }, heldBy, isSilent);
}

/** Whether it is known that nothing was made: whoever tried said so, and nothing is seen of it. */
export function isUnmade(judgement: Judgement, row: ResourceRow): boolean {
  return row.state === "PENDING" && row.attempt === 0 && !judgement.isObserved(row);
}

/** Goes on with the end of a row that is TERMINATING. */
export function endTerminating(judgement: Judgement, row: ResourceRow): void {
  const { id, incarnation } = row;
  const reason = row.reason ?? "Surplus";
  judgement.waits();
  judgement.disrupts();
  if (judgement.isGone(row)) {
    judgement.proposes("ledger", { type: "drop", id, incarnation, reason, row });
    return;
  }
  if (judgement.isHeld(row)) return;
  endPatiently(judgement, { type: "terminate", id, incarnation, reason, row, again: false }, row.stateChangedAt);
}

/** Ends resources that were terminated and are there all the same, and those that no row knows. */
export function endZombies(judgement: Judgement, doubt?: HeldBy): void {
  const { slot, matches, context } = judgement;
  // An answer that may be of somebody else's resources ends none of them.
  const heldBy = doubt ?? (context.observed === "unconfirmed" ? "unconfirmedEmpty" : undefined);
  for (const row of slot.rows) {
    if (isLive(row) || !judgement.isObserved(row) || judgement.isHeld(row)) continue;
    const { id, incarnation } = row;
    endPatiently(
      judgement,
      { type: "terminate", id, incarnation, reason: "Zombie", row, again: true },
      undefined,
      heldBy,
    );
  }
  for (const stray of matches.strays)
    endPatiently(judgement, { type: "terminate", id: slot.id, reason: "Zombie", ...stray }, undefined, heldBy);
}

/** Asks once, waits for the grace period, and then asks again, and harder where that is possible. */
function endPatiently(judgement: Judgement, step: EndStep, begunAt?: number, heldBy?: HeldBy): void {
  const { canForce, terminateGraceMs, acceptedAt } = judgement.context;
  const accepted = acceptedAt(stepKey(step));
  const since = begunAt ?? accepted;
  const graceEndsAt = since === undefined ? undefined : since + terminateGraceMs;
  judgement.waits();
  if (graceEndsAt !== undefined && judgement.hasPassed(graceEndsAt)) {
    judgement.proposesEnd(canForce ? { ...step, type: "forceTerminate" } : step, heldBy, false);
    return;
  }
  if (canForce || accepted !== undefined) judgement.looksAt(graceEndsAt);
  if (accepted === undefined) judgement.proposesEnd({ ...step, type: judgement.endType }, heldBy, false);
}
