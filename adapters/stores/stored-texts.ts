/** What an engine's texts can't hold, or would not give back as it was; and the character that stands before its number. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const UNSTORABLE = /[\u0000\u0010]|\p{Surrogate}/gu;
// biome-ignore lint/suspicious/noControlCharactersInRegex: see above.
const ESCAPED = /\u0010([0-9a-f]{4})/g;
const ESCAPE = "\u0010";

/**
 * A text as it is stored. NUL and halves of surrogate pairs, which a `reason` made of somebody's error message may hold,
 * become {@link ESCAPE} (ASCII's data link escape) and their number; all others stay readable. Of what two texts become, nothing
 * but equality may be concluded: ids, which have an order, are refused instead.
 */
export function storedText(text: string): string {
  return text.replace(UNSTORABLE, (unit) => ESCAPE + unit.charCodeAt(0).toString(16).padStart(4, "0"));
}

/** What {@link storedText} was given. */
export function originalText(stored: string): string {
  if (!stored.includes(ESCAPE)) return stored;
  return stored.replace(ESCAPED, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
}
