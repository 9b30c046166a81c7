/** Characters that take two columns. */
const WIDE =
  /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}|\p{Emoji_Presentation}|[\uff01-\uff60]/u;

/** A text in at most so many columns of a terminal: what is longer ends with `…`. */
export function cutText(text: string, columns: number): string {
  let width = 0;
  let end = 0;
  /** The end of what leaves room for the `…`. */
  let kept = 0;
  for (const char of text) {
    width += WIDE.test(char) ? 2 : 1;
    if (width > columns) return `${text.slice(0, kept)}…`;
    end += char.length;
    if (width < columns) kept = end;
  }
  return text;
}
