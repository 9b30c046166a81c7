import { shownName, shownText } from "../../../src/shown-text.ts";
import type { HeldSummary } from "../dashboard-update.ts";
import { type Cell, type Column, dataTable } from "./data-table.ts";
import { countText } from "./duration-text.ts";
import { element, setAttribute, setText } from "./element.ts";
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
  { label: "Action", cell: actionCell },
  { label: "Held by", cell: heldByCell },
];

function actionCell(): Cell<HeldSummary> {
  const type = element("span");
  const id = element("bdi", { class: "resource-id" });
  const reason = element("bdi", { class: "detail" });
  return {
    content: element("span", { class: "stack" }, element("span", {}, type, " ", id), " ", reason),
    show(held) {
      setText(type, wordsOf(held.type));
      const shown = shownName(held.id);
      setText(id, `${shown}#${held.incarnation}`);
      setAttribute(id, "title", shown);
      setText(reason, shownText(held.reason));
    },
  };
}

function heldByCell(): Cell<HeldSummary> {
  const name = element("span");
  const why = element("span", { class: "detail" });
  return {
    content: element("span", { class: "stack" }, name, " ", why),
    show({ heldBy }) {
      setText(name, wordsOf(heldBy));
      setText(why, WHY[heldBy] ?? "");
    },
  };
}

/** What the last pass would have done, and what keeps it. */
export function heldTable(): Part<{
  readonly held: readonly HeldSummary[];
  readonly total: number;
  /** What stands there where none is. */
  readonly empty: string;
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
    show({ held, total, empty }, now) {
      table.setEmpty(empty);
      table.show(held, now);
      const hidden = total - held.length;
      setText(rest, hidden > 0 ? `and ${countText(hidden)} more` : "");
    },
    tick: table.tick,
  };
}
