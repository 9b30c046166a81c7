/** Deeper texts are compared as bytes: their values have no canonical form. */
const DEEPEST = 400;
/** More digits than these, and a double may stand for several texts. */
const MOST_DIGITS = 15;
const LARGEST_EXPONENT = 300;

/** A JSON text as a value that says all that the text says. */
export interface FaithfulValue {
  readonly value: unknown;
}

/**
 * Parses a JSON text, unless its value would lose something that two texts may differ in: a key that comes twice in one
 * object, a number beyond the precision of a double. Such texts, and those that are not JSON, are undefined.
 */
export function parseFaithfully(bytes: Uint8Array): FaithfulValue | undefined {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return isFaithful(text) ? { value } : undefined;
}

/** Walks a text that is known to be JSON, without recursion. */
function isFaithful(text: string): boolean {
  /** The keys of each open object; undefined for an array. */
  const open: (Set<string> | undefined)[] = [];
  /** Whether the next string in an object is a key. */
  let atKey = false;
  for (let at = 0; at < text.length; at += 1) {
    switch (text[at]) {
      case "{":
      case "[":
        if (open.length >= DEEPEST) return false;
        atKey = text[at] === "{";
        open.push(atKey ? new Set() : undefined);
        break;
      case "}":
      case "]":
        open.pop();
        atKey = false;
        break;
      case ",":
        atKey = open[open.length - 1] !== undefined;
        break;
      case '"': {
        const end = endOfString(text, at);
        if (atKey) {
          const key: string = JSON.parse(text.slice(at, end));
          const keys = open[open.length - 1];
          if (keys?.has(key)) return false;
          keys?.add(key);
          atKey = false;
        }
        at = end - 1;
        break;
      }
      default: {
        NUMBER.lastIndex = at;
        const number = NUMBER.exec(text);
        if (number === null) break;
        if (!isExact(number)) return false;
        at += number[0].length - 1;
      }
    }
  }
  return true;
}

const NUMBER = /-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?/y;

function isExact([text, whole = "", fraction = "", exponent]: RegExpExecArray): boolean {
  if (fraction === "" && exponent === undefined) return Number.isSafeInteger(Number(text));
  const digits = `${whole}${fraction}`.replace(/^0+|0+$/g, "");
  return digits.length <= MOST_DIGITS && Math.abs(Number(exponent ?? 0)) <= LARGEST_EXPONENT;
}

/** Where a string that begins at `start` ends, its closing quote included. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at + 1;
}
