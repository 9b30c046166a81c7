import Table from "cli-table3";
import { shownName } from "../../src/shown-text.ts";
import { columnsOf, cutText } from "./cut-text.ts";

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

/** One cell must not make every row as wide, nor take the time that `cli-table3` has for a megabyte. */
const MOST_COLUMNS = 200;

/**
 * A table without borders and colours, in parts of some rows, each without its last line feed. What a terminal would act upon is
 * written out, and what is longer than 200 columns is cut.
 */
export function* tableParts(columns: readonly Column[], rows: readonly (readonly string[])[]): Generator<string> {
  const all = [columns.map(({ head }) => head.toUpperCase()), ...rows.map((row) => row.map(cellText))];
  const colWidths = columns.map((_, at) => all.reduce((width, row) => Math.max(width, columnsOf(row[at] ?? "")), 1));
  const colAligns = columns.map(({ align = "left" }) => align);
  const style = { head: [], border: [], "padding-left": 0, "padding-right": 0 };
  for (let at = 0; at < all.length; at += ROWS_AT_ONCE) {
    const table = new Table({ colWidths, colAligns, chars: BARE, style });
    table.push(...all.slice(at, at + ROWS_AT_ONCE));
    yield table
      .toString()
      .split("\n")
      .map((line) => line.trimEnd())
      .join("\n");
  }
}

/** What is left out before the cut could not be seen behind it: a character takes two units at most, and a column at least. */
function cellText(text: string): string {
  return cutText(shownName(text.slice(0, 2 * MOST_COLUMNS + 2)), MOST_COLUMNS);
}
