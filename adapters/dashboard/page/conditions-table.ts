import type { GroupSummary } from "../dashboard-update.ts";
import { type Column, dataTable, sinceCell, textCell } from "./data-table.ts";
import { element, setAttribute, setText } from "./element.ts";
import { wordsOf } from "./group-cards.ts";
import type { Part } from "./part.ts";

type Condition = GroupSummary["conditions"][number];

const COLUMNS: readonly Column<Condition>[] = [
  { label: "Condition", cell: () => textCell(({ type }) => wordsOf(type)) },
  { label: "Status", cell: statusCell },
  { label: "Reason", cell: () => textCell(({ reason }) => reason) },
  { label: "Since", kind: "number", cell: () => sinceCell(({ since }) => since) },
];

/** What holds for the whole group, and since when. */
export function conditionsTable(): Part<readonly Condition[]> {
  return dataTable({
    caption: "Conditions",
    columns: COLUMNS,
    keyOf: ({ type }) => type,
    empty: "None yet: no reconciler has finished a pass.",
  });
}

function statusCell() {
  const content = element("span", { class: "verdict" });
  return {
    content,
    show({ type, status }: Condition) {
      setText(content, status ? "yes" : "no");
      setAttribute(content, "data-tone", toneOf(type, status));
    },
  };
}

/** All but these two are troubles where they hold. */
function toneOf(type: string, status: boolean): string {
  if (type === "Converged") return status ? "good" : "busy";
  return !status ? "unknown" : type === "Paused" ? "busy" : "bad";
}
