import { recordCorrupt } from "./execution-record.ts";

/** Turns outcomes into bytes and back. */
export interface Codec {
  /** May throw: the outcome then becomes a tombstone. */
  encode(value: unknown): Uint8Array;
  /** May throw: the record then is `RECORD_CORRUPT`. */
  decode(bytes: Uint8Array): unknown;
}

/** Thrown by a codec that knows, without writing it, that an outcome is too large to be kept. */
export class OutcomeTooLarge extends Error {}

/** Deeper values are neither written nor read: walking them would exhaust the stack. */
const DEEPEST = 500;
/** A longer chain of causes is cut. */
const MOST_CAUSES = 8;

/**
 * The default codec: JSON in which everything that JSON can't say is an object with one `$`-key. Round-trips undefined,
 * -0, NaN, infinities, bigint, Date, Map, Set, bytes (every view and `ArrayBuffer`; a `Buffer` comes back as the
 * `Uint8Array` it is), errors (name, message, code, cause; never the stack), and nesting of all these. Objects with
 * `toJSON` come back as what it returned. Functions, symbols, cycles and other class instances throw a `TypeError`.
 */
export const taggedJson: Codec = Object.freeze({
  encode: (value: unknown) => new TextEncoder().encode(JSON.stringify(tag(value, []))),
  decode(bytes: Uint8Array) {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    assertShallow(text);
    return untag(JSON.parse(text));
  },
});

const VIEWS = {
  Int8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  DataView,
} as const;

const ERRORS: Readonly<Record<string, new (message: string) => Error>> = {
  Error,
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
};

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

function tag(value: unknown, path: object[]): Json {
  switch (typeof value) {
    case "undefined":
      return { $undefined: 0 };
    case "boolean":
    case "string":
      return value;
    case "number":
      if (Number.isFinite(value) && !Object.is(value, -0)) return value;
      return { $number: Object.is(value, -0) ? "-0" : String(value) };
    case "bigint":
      return { $bigint: value.toString() };
    case "object":
      return value === null ? null : tagObject(value, path);
    default:
      throw new TypeError(`A ${typeof value} can't be stored.`);
  }
}

function tagObject(value: object, path: object[]): Json {
  if (path.includes(value)) throw new TypeError("A value that contains itself can't be stored.");
  if (path.length >= DEEPEST) throw new TypeError(`Values nested deeper than ${DEEPEST} can't be stored.`);
  path.push(value);
  const tagged = tagKnown(value, path);
  path.pop();
  return tagged;
}

function tagKnown(value: object, path: object[]): Json {
  const inner = (item: unknown): Json => tag(item, path);
  if (Array.isArray(value)) return Array.from(value, inner);
  if (value instanceof Date) return { $date: Number.isNaN(value.getTime()) ? null : value.getTime() };
  if (value instanceof Map) return { $map: Array.from(value, ([key, item]) => [inner(key), inner(item)]) };
  if (value instanceof Set) return { $set: Array.from(value, inner) };
  if (value instanceof ArrayBuffer) return { $buffer: Buffer.from(value).toString("base64") };
  if (ArrayBuffer.isView(value)) return tagView(value);
  if (value instanceof Error) return { $error: tagError(value, path) };
  if (typeof (value as { toJSON?: unknown }).toJSON === "function")
    return inner((value as { toJSON(): unknown }).toJSON());
  return tagPlain(value, inner);
}

function tagView(value: ArrayBufferView): Json {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64");
  if (value instanceof Uint8Array) return { $bytes: bytes };
  const name = value.constructor.name;
  if (!Object.hasOwn(VIEWS, name)) throw new TypeError(`A ${name} can't be stored.`);
  return { $view: [name, bytes] };
}

function tagError(error: Error, path: object[]): Json {
  const { name, message, cause } = error;
  const code = (error as { code?: unknown }).code;
  const causes = path.filter((ancestor) => ancestor instanceof Error).length;
  return {
    name: String(name),
    message: String(message),
    ...(typeof code === "string" || typeof code === "number" ? { code } : {}),
    ...("cause" in error && causes <= MOST_CAUSES ? { cause: tag(cause, path) } : {}),
  };
}

function tagPlain(value: object, inner: (item: unknown) => Json): Json {
  const prototype = Object.getPrototypeOf(value);
  // Another realm's Object.prototype has no prototype either.
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    throw new TypeError(`An instance of ${value.constructor?.name ?? "a class"} can't be stored.`);
  }
  const entries = Object.entries(value).map(([key, item]): [string, Json] => [key, inner(item)]);
  if (prototype === null) return { $bare: entries };
  // An object of the user's that looks like one of our tags is written as its entries.
  if (entries.length === 1 && entries[0]?.[0].startsWith("$")) return { $object: entries };
  return Object.fromEntries(entries);
}

function untag(json: Json): unknown {
  if (json === null || typeof json !== "object") return json;
  if (Array.isArray(json)) return json.map(untag);
  const entries = Object.entries(json);
  const first = entries[0];
  if (entries.length === 1 && first?.[0].startsWith("$")) return untagKnown(first[0], first[1] as never);
  return untagEntries(entries);
}

/** `Object.fromEntries` defines own properties, so that a stored `__proto__` stays data. */
function untagEntries(entries: readonly (readonly [string, Json])[]): Record<string, unknown> {
  return Object.fromEntries(entries.map(([key, item]) => [key, untag(item)]));
}

function untagKnown(name: string, payload: never): unknown {
  switch (name) {
    case "$undefined":
      return undefined;
    case "$number":
      return Number(payload);
    case "$bigint":
      return BigInt(payload);
    case "$date":
      return new Date(payload ?? Number.NaN);
    case "$map":
      return new Map((payload as Json[][]).map(([key, item]) => [untag(key as Json), untag(item as Json)]));
    case "$set":
      return new Set((payload as Json[]).map(untag));
    case "$bytes":
      return Uint8Array.from(Buffer.from(payload, "base64"));
    case "$buffer":
      return Uint8Array.from(Buffer.from(payload, "base64")).buffer;
    case "$view":
      return untagView(payload);
    case "$error":
      return untagError(payload);
    case "$bare":
      return Object.assign(Object.create(null), untagEntries(payload));
    case "$object":
      return untagEntries(payload);
    default:
      throw recordCorrupt("it has a value of an unknown kind");
  }
}

function untagView([name, base64]: [keyof typeof VIEWS, string]): unknown {
  const { buffer } = Uint8Array.from(Buffer.from(base64, "base64"));
  if (!Object.hasOwn(VIEWS, name)) throw recordCorrupt("it has bytes of an unknown kind");
  const View: new (bytes: ArrayBuffer) => ArrayBufferView = VIEWS[name];
  return new View(buffer as ArrayBuffer);
}

function untagError(stored: { name: string; message: string; code?: string | number; cause?: Json }): Error {
  const Class = Object.hasOwn(ERRORS, stored.name) ? ERRORS[stored.name] : undefined;
  const error = new (Class ?? Error)(stored.message);
  const hidden = { writable: true, configurable: true, enumerable: false };
  // The stack of a replay would point here, which helps nobody.
  Object.defineProperty(error, "stack", { ...hidden, value: `${stored.name}: ${stored.message}` });
  if (error.name !== stored.name) Object.defineProperty(error, "name", { ...hidden, value: stored.name });
  if (stored.code !== undefined) Object.assign(error, { code: stored.code });
  if (stored.cause !== undefined) Object.defineProperty(error, "cause", { ...hidden, value: untag(stored.cause) });
  return error;
}

/** Each level of a value takes at most this many brackets. */
const BRACKETS_PER_LEVEL = 4;

/** Counts brackets outside of strings before anything recursive touches the text. */
function assertShallow(text: string): void {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    if (inString) {
      if (char === BACKSLASH) at += 1;
      else if (char === QUOTE) inString = false;
    } else if (char === QUOTE) inString = true;
    else if (char === OPEN_BRACE || char === OPEN_BRACKET) {
      depth += 1;
      if (depth > DEEPEST * BRACKETS_PER_LEVEL) throw recordCorrupt("it is nested too deeply");
    } else if (char === CLOSE_BRACE || char === CLOSE_BRACKET) depth -= 1;
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
