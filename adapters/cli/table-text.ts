/// <reference path="./cli-table3-utils.d.ts" />
import Table from "cli-table3";
import { strlen } from "cli-table3/src/utils.js";
import { shownText } from "./shown-text.ts";

/** A column of a table. */
export interface Column {
  readonly head: string;
  /** Numbers stand right. Defaults to left. */
  readonly align?: "left" | "right";
}

/** No lines: the columns are seen without, and other programs can cut them. */
const BARE = {
  ...{ top: "", "top-mid": "", "top-left": "", "top-right": "" },
  ...{ bottom: "", "bottom-mid": "", "bottom-left": "", "bottom-right": "" },
  ...{ left: "", "left-mid": "", mid: "", "mid-mid": "", right: "", "right-mid": "", middle: "  " },
};

/** The time that `cli-table3` takes grows with the square of the rows. */
const ROWS_AT_ONCE = 50;

/** A table without borders and colours, its last line without a line feed. What a terminal would act upon is written out. */
export function tableText(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const all = [columns.map(({ head }) => head.toUpperCase()), ...rows.map((row) => row.map(shownText))];
  const colWidths = columns.map((_, at) => all.reduce((width, row) => Math.max(width, strlen(row[at] ?? "")), 1));
  const colAligns = columns.map(({ align = "left" }) => align);
  const style = { head: [], border: [], "padding-left": 0, "padding-right": 0 };
  const parts = Array.from({ length: Math.ceil(all.length / ROWS_AT_ONCE) }, (_, at) => {
    const table = new Table({ colWidths, colAligns, chars: BARE, style });
    table.push(...all.slice(at * ROWS_AT_ONCE, (at + 1) * ROWS_AT_ONCE));
    return table.toString();
  });
  return parts
    .join("\n")
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}
