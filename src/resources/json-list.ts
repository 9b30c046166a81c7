/** About how many characters are parsed at a time. */
const PART_LENGTH = 65_536;

/**
 * The items of the text of a JSON list, a part of them at a time, because `JSON.parse` keeps the event loop to itself: for half a
 * second over a million items.
 *
 * @param text - one that {@link isJsonList} holds for.
 * @throws SyntaxError where `JSON.parse` would throw one, as soon as that part is asked for.
 */
export function* partsOfJsonList(text: string): Generator<readonly unknown[]> {
  const end = text.length - 1;
  let start = 1;
  let depth = 0;
  for (let at = start; at < end; at += 1) {
    switch (text[at]) {
      case '"':
        at = endOfString(text, at);
        break;
      case "[":
      case "{":
        depth += 1;
        break;
      case "]":
      case "}":
        depth -= 1;
        break;
      case ",":
        if (depth !== 0 || at - start < PART_LENGTH) break;
        yield itemsOf(text.slice(start, at));
        start = at + 1;
        break;
    }
  }
  if (text !== "[]") yield itemsOf(text.slice(start, end));
}

/** Whether a text looks like a list from outside. */
export function isJsonList(text: string): boolean {
  return text.length >= 2 && text.startsWith("[") && text.endsWith("]");
}

/** Lists that are valid one by one are one valid list when they are joined by commas, unless one has no items. */
function itemsOf(part: string): readonly unknown[] {
  const items = JSON.parse(`[${part}]`) as unknown[];
  if (items.length === 0) throw new SyntaxError("an item is missing in a list");
  return items;
}

/** The position of the quote that ends a string; beyond the text where none does. */
function endOfString(text: string, start: number): number {
  for (let at = start; ; ) {
    at = text.indexOf('"', at + 1);
    if (at === -1) return text.length;
    let escapes = 0;
    while (text[at - 1 - escapes] === "\\") escapes += 1;
    if (escapes % 2 === 0) return at;
  }
}
