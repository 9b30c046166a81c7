import type { ResourceRow } from "../store.ts";
import type { StepOutcome } from "./step.ts";

/**
 * Whether a ledger that shows this has lost what was known of it, as one has that was put back to a copy, or whose primary fell out before
 * its replica had all. In any other a row only goes forward, and none is deleted that was not terminated.
 * @param found - what stands there for the row; undefined: it is not there.
 */
export function hasGoneBack(known: ResourceRow, found: ResourceRow | undefined): boolean {
  if (found === undefined) return known.state !== "TERMINATED";
  if (found.version !== known.version) return found.version < known.version;
  // Somebody has come to the same version another way.
  return (
    found.state !== known.state || found.createdAt !== known.createdAt || found.stateChangedAt !== known.stateChangedAt
  );
}

/**
 * Whether a step met less in the ledger than it was planned by: a ledger that has gone back, or a tombstone that was purged before its
 * time.
 */
export function metLess({ step, result, row, isGone }: StepOutcome): boolean {
  if (result !== "lost") return false;
  if (row === undefined) return isGone === true;
  if ("after" in step && row.incarnation < step.after) return true;
  const known = "row" in step ? step.row : "gone" in step ? step.gone : undefined;
  return known?.incarnation === row.incarnation && row.version < known.version;
}
