import type { ResourceRow } from "../store.ts";
import { end, endTerminating, endZombies, isUnmade } from "./ending.ts";
import { failAndReplace } from "./failing.ts";
import { endedInSilence, endedUnexpectedly, type Judgement } from "./judgement.ts";
import { adoptedIncarnation, isLostRow } from "./lost-rows.ts";
import { isUpdateOpen, UPDATE_REASON } from "./open-update.ts";
import type { HeldBy } from "./planned.ts";
import { isLive, isNameless, newestOf } from "./slot.ts";
import type { Step } from "./step.ts";

/** Judges a slot at which something is wanted. */
export function judgeWanted(judgement: Judgement): void {
  const { rows } = judgement.slot;
  const newest = newestOf(judgement.slot);
  if (newest === undefined || isHalfAdopted(judgement, newest)) {
    createFirst(judgement, newest?.incarnation ?? 0);
    return;
  }
  endZombies(judgement);
  const isUp = judgeNewest(judgement, newest);
  for (const row of rows.slice(0, -1)) if (isLive(row)) endOld(judgement, row, isUp);
}

/** @returns whether it stands there as far as anybody can see, so that what it replaces can go. */
function judgeNewest(judgement: Judgement, newest: ResourceRow): boolean {
  switch (newest.state) {
    case "TERMINATED":
      judgement.drifts("missing");
      judgement.disrupts();
      createAfter(judgement, newest);
      return false;
    case "TERMINATING":
      // It is on its way out and never comes back: the next one waits until it is gone.
      judgement.drifts("missing");
      endTerminating(judgement, newest);
      judgement.proposes("create", judgement.next("create", newest, missingReason(newest)), { by: "fence" });
      return false;
    case "PENDING":
      createAgain(judgement, newest);
      return false;
    case "FAILED":
      replaceFailed(judgement, newest);
      return false;
    case "PROVISIONED":
      return keep(judgement, newest);
  }
}

/** Whether what was found was about to be adopted, and the ledger has come to the numbers before it already. */
function isHalfAdopted({ matches }: Judgement, newest: ResourceRow): boolean {
  const found = matches.strays.at(-1);
  return isLostRow(newest) && found !== undefined && found.incarnation > newest.incarnation;
}

/** Nothing is in the ledger, up to a number. */
function createFirst(judgement: Judgement, after: number): void {
  const { slot, context, matches } = judgement;
  const { id, wanted } = slot;
  const known = matches.strays.at(-1);
  if (known === undefined) {
    judgement.drifts("missing");
    judgement.proposes("create", judgement.next("create", undefined, "Missing"), { by: absenceDoubt(judgement) });
    return;
  }
  const { externalId } = known;
  const step: Step = {
    type: "adopt",
    id,
    // Under its own, because it beats by that.
    incarnation: adoptedIncarnation(after, known.incarnation),
    reason: "Observed",
    after,
    ...(externalId === undefined ? {} : { externalId }),
    ...(wanted?.spec === undefined ? {} : { spec: wanted.spec }),
    generation: context.generation,
  };
  judgement.proposes("ledger", step, { by: context.observed === "unconfirmed" ? "unconfirmedEmpty" : undefined });
}

/** The newest is a tombstone. */
function createAfter(judgement: Judgement, newest: ResourceRow): void {
  const step = judgement.next("create", newest, missingReason(newest));
  const heldBy = fence(judgement) ?? absenceDoubt(judgement);
  const at = endedUnexpectedly(newest)
    ? judgement.replacementAt(newest, newest.stateChangedAt)
    : judgement.context.nowMs;
  judgement.proposesAt("create", step, at, heldBy);
}

/** The newest is PENDING: its creation was interrupted, or has failed, or is under way. */
function createAgain(judgement: Judgement, row: ResourceRow): void {
  const { rows, wanted } = judgement.slot;
  const replaces = rows.some((other) => other !== row && isLive(other));
  if (rows.length > 1) judgement.disrupts();
  if (judgement.isHeld(row)) return;
  if (row.spec !== wanted?.spec) {
    remake(judgement, row);
    return;
  }
  const { id, incarnation } = row;
  const type = replaces ? "replace" : "create";
  const reason = row.reason ?? "Missing";
  judgement.proposes("create", { type, how: "again", id, incarnation, reason, row }, { by: fence(judgement, row) });
}

/** Its creation would be repeated as it began, with a spec that is not wanted any more, and may never succeed for it. */
function remake(judgement: Judgement, row: ResourceRow): void {
  judgement.drifts("outdated");
  const reason = UPDATE_REASON;
  if (isUnmade(judgement, row) || judgement.isGone(row)) {
    const step = judgement.next("create", row, reason, row);
    judgement.proposes("create", step, { by: fence(judgement, row) });
  } else end(judgement, row, { reason });
}

function replaceFailed(judgement: Judgement, row: ResourceRow): void {
  judgement.drifts("stale");
  judgement.disrupts();
  const reason = row.reason ?? "Failed";
  const isGone = judgement.isGone(row);
  if (isGone || judgement.context.replacement === "replaceFirst") {
    const step = judgement.next("replace", row, reason, isGone ? row : undefined);
    const at = judgement.replacementAt(row, row.stateChangedAt);
    judgement.proposesAt("stale", step, at, fence(judgement, row));
  } else end(judgement, row, { reason });
}

/** The newest is PROVISIONED: it is well, or missing, or silent, or outdated. */
function keep(judgement: Judgement, row: ResourceRow): boolean {
  if (isMissing(judgement, row)) return false;
  const { wanted } = judgement.slot;
  const health = judgement.health(row);
  if (health.verdict === "stale") {
    judgement.drifts("stale");
    judgement.disrupts();
    failAndReplace(judgement, row, health);
    return true;
  }
  judgement.looksAt(health.nextCheckAt);
  if (row.spec === wanted?.spec && !isUpdateOpen(row)) {
    judgement.isHeld(row);
    return true;
  }
  judgement.drifts("outdated");
  if (judgement.isHeld(row)) judgement.disrupts();
  else renew(judgement, row);
  return true;
}

/** It is well, and not known to be of the spec that is wanted. */
function renew(judgement: Judgement, row: ResourceRow): void {
  const { canUpdate, replacement, generation } = judgement.context;
  const { wanted } = judgement.slot;
  const { id, incarnation } = row;
  const reason = UPDATE_REASON;
  if (canUpdate) {
    const spec = wanted?.spec === undefined ? {} : { spec: wanted.spec };
    judgement.proposes("voluntary", { type: "update", id, incarnation, reason, row, ...spec, generation });
  } else if (replacement === "replaceFirst") {
    judgement.proposes("voluntary", judgement.next("replace", row, reason));
  } else {
    judgement.proposes("voluntary", { type: judgement.endType, id, incarnation, reason, row, again: false });
  }
}

/** Whether an observation that says what there is lacks the row's resource; then it is made anew. */
function isMissing(judgement: Judgement, row: ResourceRow): boolean {
  const { observed, nowMs } = judgement.context;
  if (observed === "ledger" || observed === "partial" || judgement.isObserved(row)) return false;
  judgement.drifts("missing");
  judgement.disrupts();
  const { id, incarnation } = row;
  const reason = "NotObserved";
  const step = judgement.next("create", row, reason, row);
  const shownBy = judgement.shownBy(row);
  const at = judgement.replacementAt(row, nowMs);
  if (!judgement.isObservedSince(shownBy)) judgement.proposes("create", step, { by: "grace", until: shownBy });
  else if (observed === "unconfirmed") judgement.proposes("create", step, { by: "unconfirmedEmpty" });
  else if (judgement.hasPassed(at)) judgement.proposes("create", step, { by: fence(judgement, row) });
  else {
    // The time that it has to wait runs from its end, which the ledger has to know.
    judgement.proposes("ledger", { type: "drop", id, incarnation, reason, row });
    judgement.proposesAt("create", judgement.next("create", row, reason), at);
  }
  return true;
}

/** A predecessor of the newest row. */
function endOld(judgement: Judgement, row: ResourceRow, isReplaced: boolean): void {
  judgement.disrupts();
  if (row.state === "TERMINATING") endTerminating(judgement, row);
  else if (isReplaced || judgement.context.replacement === "fenceFirst")
    end(judgement, row, { reason: (row.state === "FAILED" ? row.reason : undefined) ?? "Replaced" });
  else judgement.waits();
}

/** What has to be gone before something is created, besides the row that it is created for or in place of. */
function fence({ slot, matches, context }: Judgement, besides?: ResourceRow): HeldBy | undefined {
  const others = slot.rows.filter((row) => row !== besides);
  const seen = others.filter(({ incarnation }) => matches.byIncarnation.has(incarnation));
  if (context.replacement === "fenceFirst") {
    return others.some(isLive) || seen.length > 0 || matches.strays.length > 0 ? "fence" : undefined;
  }
  // One that can't be told from the next one must be gone before that is made, or the wrong one would be ended.
  const isAlike = seen.some((row) => {
    const item = matches.byIncarnation.get(row.incarnation);
    return !isLive(row) && item !== undefined && isNameless(item);
  });
  return isAlike ? "fence" : undefined;
}

/** What keeps us from taking a resource for absent that the ledger has no row of. */
function absenceDoubt({ context }: Judgement): HeldBy | undefined {
  switch (context.observed) {
    case "partial":
      return "unknown";
    case "unconfirmed":
      return "unconfirmedEmpty";
    default:
      return undefined;
  }
}

/** Why something is made in place of a tombstone: one that takes the place of a silent one says so, for the mass guard. */
function missingReason(newest: ResourceRow): string {
  return (endedInSilence(newest) ? newest.reason : undefined) ?? "Missing";
}
