import { durationText, momentText } from "./duration-text.ts";
import { element, setAttribute, setShown, setText } from "./element.ts";
import { keyedRows } from "./keyed-rows.ts";
import type { Part } from "./part.ts";

/** One column: its heading, and what makes its cells. */
export interface Column<T> {
  readonly label: string;
  /** A class of the column's cells. */
  readonly kind?: "id" | "number" | "action";
  readonly cell: () => Cell<T>;
}

/** What stands in one cell. */
export interface Cell<T> {
  readonly content: Node;
  show(item: T, now: number): void;
  tick?(now: number): void;
}

/**
 * A table whose rows are kept by key. The first column names the row. On narrow screens the style sheet lays each row out as a block;
 * the roles are spelled out so that it stays a table for those who do not see it.
 */
export function dataTable<T>(options: {
  readonly caption: string;
  readonly columns: readonly Column<T>[];
  readonly keyOf: (item: T) => string;
  /** What stands there instead where there are no items. */
  readonly empty: string;
}): Part<readonly T[]> & { setEmpty(text: string): void } {
  const { caption, columns, keyOf, empty } = options;
  const body = element("tbody", { role: "rowgroup" });
  const headings = columns.map(({ label, kind }) =>
    element("th", { scope: "col", role: "columnheader", class: kind }, kind === "action" ? hidden(label) : label),
  );
  const table = element(
    "table",
    { role: "table" },
    element("caption", { class: "unseen" }, caption),
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...headings)),
    body,
  );
  const scroller = element("div", { class: "scroller", role: "region", tabindex: "0", "aria-label": caption }, table);
  const nothing = element("p", { class: "nothing" }, empty);
  const rows = keyedRows({ parent: body, keyOf, create: () => tableRow(columns) });
  return {
    element: element("div", { class: "data" }, scroller, nothing),
    show(items, now) {
      rows.show(items, now);
      setShown(scroller, items.length > 0);
      setShown(nothing, items.length === 0);
    },
    tick: rows.tick,
    setEmpty: (text) => setText(nothing, text),
  };
}

function tableRow<T>(columns: readonly Column<T>[]): Part<T> {
  const cells = columns.map(({ cell }) => cell());
  const boxes = columns.map(({ label, kind }, index) => {
    const name = index === 0 ? "th" : "td";
    const role = index === 0 ? { scope: "row", role: "rowheader" } : { role: "cell", "data-label": label };
    return element(name, { ...role, class: kind }, (cells[index] as Cell<T>).content);
  });
  return {
    element: element("tr", { role: "row" }, ...boxes),
    show: (item, now) => {
      for (const cell of cells) cell.show(item, now);
    },
    tick: (now) => {
      for (const cell of cells) cell.tick?.(now);
    },
  };
}

function hidden(text: string): HTMLElement {
  return element("span", { class: "unseen" }, text);
}

/** A cell that holds a text; `title` says more of it. */
export function textCell<T>(textOf: (item: T) => string, titleOf?: (item: T) => string | undefined): Cell<T> {
  // Texts are isolated: one that runs from right to left turns nothing else around.
  const content = element("bdi");
  return {
    content,
    show(item) {
      setText(content, textOf(item));
      if (titleOf) setAttribute(content, "title", titleOf(item));
    },
  };
}

/** A cell that says how long ago something was, or how long it still is where `direction` is `left`. */
export function ageCell<T>(atOf: (item: T) => number | undefined, direction: "ago" | "left" = "ago"): Cell<T> {
  const content = element("time", { class: "age" });
  let at: number | undefined;
  const tick = (now: number): void => {
    const ms = at === undefined ? undefined : direction === "ago" ? now - at : at - now;
    setText(content, ms === undefined ? "–" : durationText(ms));
  };
  return {
    content,
    show(item, now) {
      at = atOf(item);
      tick(now);
    },
    tick,
  };
}

/** An age of a point in time that stays, with the point itself as its title. */
export function sinceCell<T>(atOf: (item: T) => number | undefined): Cell<T> {
  const cell = ageCell(atOf);
  return {
    ...cell,
    show(item, now) {
      const at = atOf(item);
      setAttribute(cell.content as Element, "title", at === undefined ? undefined : momentText(at));
      cell.show(item, now);
    },
  };
}
