import { EvenkeelError } from "../errors.ts";

const LONGEST_KEY = 255;
/** A key with every character escaped, and room for parameters: what is longer is not looked at. */
const LONGEST_VALUE = 4_096;

/** RFC 8941, section 3.3.3: visible ASCII and spaces, `\"` and `\\` escaped. */
const STRING = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"/;
/** RFC 8941, section 3.1.2: `;key` or `;key=bare-item`, any number of times. */
const PARAMETERS =
  /^(?: *; *[a-z*][a-z0-9_.*-]*(?:=(?:-?\d{1,15}(?:\.\d{1,3})?|"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"|[A-Za-z*][\w!#$%&'*+.^`|~:/-]*|:[A-Za-z0-9+/=]*:|\?[01]))?)*$/;
/** What clients send that know nothing of RFC 8941: visible ASCII, but for what would make it ambiguous. */
const BARE = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x7e]+$/;

/** How the key is looked for in the headers of a request. */
export interface KeyRules {
  /** Lower-case names; the first that is there counts. */
  readonly header: readonly string[];
  /** Whether only an RFC 8941 string is a key. */
  readonly strictKey: boolean;
}

/**
 * The idempotency key of a request, or undefined without one.
 *
 * `draft-ietf-httpapi-idempotency-key-header-07`, section 2.1, wants an RFC 8941 string; most clients send a bare token.
 * `"k"` and `k` are the same key.
 *
 * @param rawHeaders - name, value, name, value, as they came: a joined list would hide a second line.
 * @throws EvenkeelError `KEY_INVALID`; its message says what is wrong and never what was sent.
 */
export function keyOfHeaders(rawHeaders: readonly string[], rules: KeyRules): string | undefined {
  for (const name of rules.header) {
    const values = valuesOf(rawHeaders, name);
    if (values.length > 1) throw invalid("came in more than one header line");
    const [value] = values;
    if (value !== undefined) return parseKey(value, rules.strictKey);
  }
  return undefined;
}

/** The key that a header value says. */
function parseKey(value: string, strict: boolean): string {
  if (value.length > LONGEST_VALUE) throw invalid(`is longer than ${LONGEST_KEY} characters`);
  const text = trimmed(value);
  if (text === "") throw invalid("is empty");
  const key = text.startsWith('"') ? parseString(text) : parseBare(text, strict);
  if (key.trim() === "") throw invalid("is blank");
  if (key.length > LONGEST_KEY) throw invalid(`is longer than ${LONGEST_KEY} characters`);
  return key;
}

/** Without the white space around it. By hand: a pattern for it takes quadratic time on a value that is full of tabs. */
function trimmed(value: string): string {
  const isSpace = (at: number): boolean => value[at] === " " || value[at] === "\t";
  let start = 0;
  let end = value.length;
  while (start < end && isSpace(start)) start += 1;
  while (end > start && isSpace(end - 1)) end -= 1;
  return value.slice(start, end);
}

function parseString(text: string): string {
  const match = STRING.exec(text);
  if (match === null || !PARAMETERS.test(text.slice(match[0].length))) throw invalid("is not an RFC 8941 string");
  return (match[1] ?? "").replace(/\\(["\\])/g, "$1");
}

function parseBare(text: string, strict: boolean): string {
  if (strict) throw invalid("is not an RFC 8941 string in double quotes");
  if (text.length > LONGEST_KEY) throw invalid(`is longer than ${LONGEST_KEY} characters`);
  if (!BARE.test(text)) throw invalid("holds characters that need an RFC 8941 string, or are not allowed at all");
  return text;
}

/** Every value of a header, one a line. */
export function valuesOf(rawHeaders: readonly string[], lowerName: string): string[] {
  const values: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.toLowerCase() === lowerName) values.push(rawHeaders[at + 1] ?? "");
  }
  return values;
}

function invalid(what: string): EvenkeelError {
  return new EvenkeelError("KEY_INVALID", `The idempotency key ${what}.`);
}
