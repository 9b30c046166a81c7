import { end, endTerminating, endZombies } from "./ending.ts";
import { fail } from "./failing.ts";
import { judgeWanted } from "./judge-wanted.ts";
import { Judgement } from "./judgement.ts";
import { isLive, matchItems, type Slot } from "./slot.ts";
import { type JudgeContext, retryKeyOf, type Verdict } from "./verdict.ts";

const ENDINGS = ["terminate", "forceTerminate"] as const;

/** Judges one slot. Pure: the same slot in the same context is judged the same. */
export function judge(slot: Slot, context: JudgeContext): Verdict {
  const judgement = new Judgement(slot, context);
  if (slot.wanted !== undefined) judgeWanted(judgement);
  else if (context.desired === "partial") judgeUnlisted(judgement);
  else judgeUnwanted(judgement);
  return judgement.verdict();
}

/** The retry keys of all terminations that a slot may call for, now or later: of rows that live, of zombies and of strays. */
export function endingKeysOf(slot: Slot): ReadonlySet<string> {
  const { byIncarnation, strays } = matchItems(slot);
  const rows = slot.rows.filter((row) => isLive(row) || byIncarnation.has(row.incarnation));
  const endings = [...rows.map(({ incarnation }) => ({ incarnation, externalId: undefined })), ...strays];
  const keys = endings.flatMap(({ incarnation, externalId }) =>
    ENDINGS.map((type) => retryKeyOf(type, slot.id, incarnation, externalId)),
  );
  return new Set(keys);
}

/** Nothing is wanted there: what is ours goes. */
function judgeUnwanted(judgement: Judgement): void {
  const { slot, matches, context } = judgement;
  const doubt = context.desired === "unconfirmed" ? ({ heldBy: "unconfirmedEmpty" } as const) : {};
  for (const row of slot.rows) {
    if (!isLive(row)) continue;
    if (row.state === "TERMINATING") {
      endTerminating(judgement, row);
      continue;
    }
    judgement.drifts("surplus");
    const reason = (row.state === "FAILED" ? row.reason : undefined) ?? "Surplus";
    const isSilent = row.state === "PROVISIONED" && judgement.health(row).verdict === "stale";
    end(judgement, row, { reason, isSilent, ...doubt });
  }
  judgement.drifts("surplus", matches.strays.length);
  endZombies(judgement, doubt.heldBy);
}

/**
 * Of a partial answer, or where nothing was ever desired: whether it is wanted is not known. What is on its way out goes on. What
 * fell silent is shown, and not given up, because nobody would take its place.
 */
function judgeUnlisted(judgement: Judgement): void {
  for (const row of judgement.slot.rows) {
    if (row.state === "TERMINATING") endTerminating(judgement, row);
    // Whether it is replaced or only ended is not known yet.
    if (row.state === "FAILED") judgement.waits();
    if (row.state !== "PROVISIONED") continue;
    const health = judgement.health(row);
    if (health.verdict === "fresh") {
      judgement.looksAt(health.nextCheckAt);
      continue;
    }
    judgement.drifts("stale");
    fail(judgement, row, health, "unknown");
  }
}
