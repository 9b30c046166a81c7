/**
 * What a terminal or a browser would act upon or hide, and what looks like nothing or like a plain space: controls (C0, DEL, C1), formatting
 * such as changes of direction and invisible joiners, fillers and other letters without a shape, separators of lines, spaces of
 * other kinds, and surrogates without their other half.
 */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}/gu;

/**
 * A text that came out of a ledger, for people: what a terminal or a browser would act upon is written out (`\x1b`, `\u202e`), so that
 * no id, key, scope or reason can move the cursor, change a colour, break a line or pass for another.
 */
export function shownText(text: string): string {
  return text.replace(UNSEEN, (char) => {
    const code = char.codePointAt(0) ?? 0;
    if (code > 0xffff) return `\\u{${code.toString(16)}}`;
    return code <= 0xff ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

/** The same for names, which must not pass for one another: a backslash of their own is written twice. */
export function shownName(name: string): string {
  return shownText(name.replaceAll("\\", "\\\\"));
}

/** JSON in which the same characters are escaped as JSON has it: the value is unchanged. */
export function shownJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replace(UNSEEN, (char) => {
    // Between the values: JSON leaves no other control unescaped.
    if (char === "\n") return char;
    return Array.from({ length: char.length }, (_, at) => {
      return `\\u${char.charCodeAt(at).toString(16).padStart(4, "0")}`;
    }).join("");
  });
}
