import { shownText } from "../../../src/shown-text.ts";
import type { GroupSummary } from "../dashboard-update.ts";
import { type Column, dataTable, sinceCell, textCell } from "./data-table.ts";
import { element, setAttribute, setText } from "./element.ts";
import { isTrouble, wordsOf } from "./group-cards.ts";

type Condition = NonNullable<GroupSummary["conditions"]>[number];

const COLUMNS: readonly Column<Condition>[] = [
  { label: "Condition", cell: () => textCell(({ type }) => wordsOf(type)) },
  { label: "Status", cell: statusCell },
  { label: "Reason", cell: () => textCell(({ reason }) => shownText(reason)) },
  { label: "Since", kind: "number", cell: () => sinceCell(({ since }) => since) },
];

/** What holds for the whole group, and since when. */
export function conditionsTable(): ReturnType<typeof dataTable<Condition>> {
  return dataTable({
    caption: "Conditions",
    columns: COLUMNS,
    keyOf: ({ type }) => type,
    empty: "",
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

function toneOf(type: string, status: boolean): string {
  if (type === "Converged") return status ? "good" : "busy";
  if (!status || type === "NotLeader") return "unknown";
  return isTrouble(type) ? "bad" : "busy";
}
