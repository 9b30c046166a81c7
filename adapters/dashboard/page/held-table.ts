import type { HeldSummary } from "../dashboard-update.ts";
import { type Column, dataTable, textCell } from "./data-table.ts";
import { countText } from "./duration-text.ts";
import { element, setText } from "./element.ts";
import { wordsOf } from "./group-cards.ts";
import type { Part } from "./part.ts";

/** What each means, in the words of somebody who asks why nothing happens. */
const WHY: Readonly<Record<HeldSummary["heldBy"], string>> = {
  massGuard: "too many fell silent at once",
  unconfirmedEmpty: "an empty answer is not confirmed yet",
  backoff: "waits before the next try",
  budget: "enough at once for now",
  paused: "the group is paused",
  notLeader: "another copy leads",
  notOwner: "another member has its shard",
  grace: "a grace period runs",
  fence: "its predecessor is not gone yet",
  unknown: "what there is, is not known",
};

const COLUMNS: readonly Column<HeldSummary>[] = [
  {
    label: "Resource",
    kind: "id",
    cell: () =>
      textCell(
        ({ id, incarnation }) => `${id}#${incarnation}`,
        ({ id }) => id,
      ),
  },
  { label: "Action", cell: () => textCell(({ type, reason }) => `${wordsOf(type)} (${reason})`) },
  { label: "Held by", cell: () => textCell(({ heldBy }) => `${wordsOf(heldBy)}: ${WHY[heldBy] ?? "held"}`) },
];

/** What the last pass would have done, and what keeps it. */
export function heldTable(): Part<{
  readonly held: readonly HeldSummary[];
  readonly total: number;
  readonly isHere: boolean;
}> {
  const table = dataTable({
    caption: "Held actions",
    columns: COLUMNS,
    keyOf: ({ type, id, incarnation }) => JSON.stringify([type, id, incarnation]),
    empty: "",
  });
  const rest = element("p", { class: "nothing" });
  return {
    element: element("div", {}, table.element, rest),
    show({ held, total, isHere }, now) {
      table.setEmpty(isHere ? "Nothing is held." : "Known where its reconciler runs, which is not here.");
      table.show(held, now);
      const hidden = total - held.length;
      setText(rest, hidden > 0 ? `and ${countText(hidden)} more` : "");
    },
    tick: table.tick,
  };
}
