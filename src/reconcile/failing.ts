import type { ResourceRow } from "../store.ts";
import type { Judgement } from "./judgement.ts";
import type { HeldBy } from "./planned.ts";
import type { Health } from "./verdict.ts";

type Stale = Extract<Health, { verdict: "stale" }>;

/** Marks a wanted row FAILED, and has the next one made at once where that comes before its end. */
export function failAndReplace(judgement: Judgement, row: ResourceRow, health: Stale): void {
  const { replacement, nowMs, graceUntil } = judgement.context;
  const heldBy = graceOf(judgement, health);
  fail(judgement, row, health);
  if (replacement !== "replaceFirst") return;
  const step = judgement.next("replace", row, health.reason);
  if (heldBy === undefined) judgement.proposesAt("stale", step, judgement.replacementAt(row, nowMs));
  else judgement.proposes("stale", step, { by: heldBy, ...(graceUntil === undefined ? {} : { until: graceUntil }) });
}

/**
 * Marks a row FAILED that fell silent, or is said to be ill.
 * @param heldBy - what keeps it from being marked, besides a grace.
 */
export function fail(judgement: Judgement, row: ResourceRow, health: Stale, heldBy?: HeldBy): void {
  const { id, incarnation } = row;
  const { reason, silentForMs } = health;
  const by = graceOf(judgement, health);
  const { graceUntil } = judgement.context;
  // A beat since it was read makes its silence shorter than it was then.
  const ifSilent = silentForMs === undefined ? {} : { ifSilentForMs: Math.max(0, silentForMs - 1) };
  judgement.proposes(
    "stale",
    { type: "fail", id, incarnation, reason, row, ...ifSilent },
    by === undefined || graceUntil === undefined ? { by: heldBy } : { by, until: graceUntil },
  );
}

/** For a while nobody is declared dead because we did not hear of it. Who says that it is ill was heard. */
function graceOf({ context }: Judgement, { reason }: Stale): HeldBy | undefined {
  const { graceUntil, nowMs } = context;
  return reason === "HeartbeatStale" && graceUntil !== undefined && graceUntil > nowMs ? "grace" : undefined;
}
