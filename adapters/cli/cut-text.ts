/// <reference path="./cli-table3-utils.d.ts" />
import { strlen } from "cli-table3/src/utils.js";

/** What takes a column a character. */
const PLAIN = /^[ -~]*$/;

/** How many columns of a terminal a text takes that is shown. */
export function columnsOf(text: string): number {
  return PLAIN.test(text) ? text.length : strlen(text);
}

/** A text in at most so many columns of a terminal: what is longer ends with `…`. */
export function cutText(text: string, columns: number): string {
  if (PLAIN.test(text) && text.length <= columns) return text;
  let width = 0;
  let end = 0;
  /** The end of what leaves room for the `…`. */
  let kept = 0;
  for (const char of text) {
    width += columnsOf(char);
    if (width > columns) return `${text.slice(0, kept)}…`;
    end += char.length;
    if (width < columns) kept = end;
  }
  return text;
}
