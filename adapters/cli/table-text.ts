import Table from "cli-table3";
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

/** A table without borders and colours, its last line without a line feed. What a terminal would act upon is written out. */
export function tableText(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const table = new Table({
    head: columns.map(({ head }) => head.toUpperCase()),
    colAligns: columns.map(({ align = "left" }) => align),
    chars: BARE,
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0 },
  });
  table.push(...rows.map((row) => row.map(shownText)));
  return table
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}
