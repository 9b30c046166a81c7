import { type Codec, OutcomeTooLarge } from "../codec.ts";
import { recordCorrupt } from "../execution-record.ts";
import { type HeaderPair, isBodiless, isFinalStatus, isSendableHeader } from "./http-headers.ts";

/** RFC 9110, section 15.3.6: its answer has no content. */
const RESET_CONTENT = 205;

/**
 * A response as the ledger keeps it: the headers as lines, the body as the bytes that were written.
 */
export class StoredResponse {
  readonly status: number;
  readonly headers: readonly HeaderPair[];
  /** Lower-case names of headers that an outer layer had set before the handler, which left them alone. */
  readonly outer: readonly string[];
  readonly body: Uint8Array;
  /** Lower-case names of headers that an outer layer had set before the handler, which took them away. */
  readonly removed: readonly string[];

  constructor(
    status: number,
    headers: readonly HeaderPair[],
    outer: readonly string[],
    body: Uint8Array,
    removed: readonly string[] = [],
  ) {
    this.status = status;
    this.headers = headers;
    this.outer = outer;
    this.body = body;
    this.removed = removed;
  }
}

/** A response that can't be kept: it is too large, has no end, or was cut off. It becomes a tombstone. */
export const UNKEPT: unique symbol = Symbol("evenkeel.unkept");

/** What an HTTP execution comes to. */
export type HttpOutcome = StoredResponse | typeof UNKEPT;

/**
 * What a handler may give to `ctx.complete()`, and a resolver as `completed`: the response that retries get.
 */
export interface CompletedResponse {
  /** Defaults to 200. */
  readonly status?: number;
  /** An object or a list of pairs; the latter where a name comes twice. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>> | readonly HeaderPair[];
  /** Text, bytes, or anything that JSON can say. Defaults to an empty body. */
  readonly body?: unknown;
}

/**
 * Makes the stored form of a response.
 * @throws TypeError when it is no response, naming the part.
 */
export function responseOf(init: unknown): StoredResponse {
  if (init instanceof StoredResponse) return init;
  if (typeof init !== "object" || init === null) throw notAResponse("an object with status, headers and body");
  const { status = 200, headers = {}, body } = init as CompletedResponse;
  if (!isFinalStatus(status)) throw notAResponse("one with a status from 200 to 999");
  const pairs: HeaderPair[] = Array.isArray(headers)
    ? [...headers]
    : Object.entries(headers).flatMap(([name, value]) => [value].flat().map((line): HeaderPair => [name, line]));
  if (!pairs.every(isSendableHeader)) throw notAResponse("one with headers that can be sent");
  const [bytes, mediaType] = bodyOf(body);
  if (bytes.length > 0 && (isBodiless(status) || status === RESET_CONTENT)) {
    throw notAResponse(`one without a body, its status being ${status}`);
  }
  const typed = pairs.some(([name]) => name.toLowerCase() === "content-type");
  if (!typed && mediaType !== undefined) pairs.push(["Content-Type", mediaType]);
  return new StoredResponse(status, pairs, [], bytes);
}

function bodyOf(body: unknown): [Uint8Array, mediaType?: string] {
  if (body === undefined) return [new Uint8Array(0)];
  if (body instanceof Uint8Array) return [body.slice(), "application/octet-stream"];
  if (typeof body === "string") return [Buffer.from(body), "text/plain; charset=utf-8"];
  const text = JSON.stringify(body);
  if (text === undefined) throw notAResponse("one with a body of text, bytes or JSON");
  return [Buffer.from(text), "application/json; charset=utf-8"];
}

function notAResponse(what: string): TypeError {
  return new TypeError(`The outcome of an HTTP execution must be a response: ${what}.`);
}

const RESPONSE = 1;
const OTHER = 2;
/** A byte for the kind, four for the length of what is not the body. */
const PREFIX_BYTES = 5;

/**
 * Responses in a layout of their own, so that a body costs its bytes; everything else (the outcomes of steps) by `inner`.
 */
export function responseCodec(inner: Codec): Codec {
  return {
    encode(value) {
      if (value === UNKEPT) throw new OutcomeTooLarge();
      if (value instanceof StoredResponse) return encodeResponse(value);
      return Buffer.concat([Buffer.of(OTHER), inner.encode(value)]);
    },
    decode(bytes) {
      if (bytes[0] === OTHER) return inner.decode(bytes.subarray(1));
      if (bytes[0] === RESPONSE) return decodeResponse(bytes);
      throw recordCorrupt("its response is of an unknown kind");
    },
  };
}

function encodeResponse({ status, headers, outer, removed, body }: StoredResponse): Uint8Array {
  // Left out where there is nothing to say, as in records from before there was such a list.
  const taken = removed.length === 0 ? {} : { removed };
  const head = Buffer.from(JSON.stringify({ status, headers, outer, ...taken }));
  const prefix = Buffer.allocUnsafe(PREFIX_BYTES);
  prefix[0] = RESPONSE;
  prefix.writeUInt32BE(head.length, 1);
  return Buffer.concat([prefix, head, body]);
}

/** Whether two responses are the same to whoever replays them. */
export function sameResponse(a: StoredResponse, b: StoredResponse): boolean {
  return Buffer.compare(encodeResponse(a), encodeResponse(b)) === 0;
}

/** @throws EvenkeelError `RECORD_CORRUPT` unless every part is what it has to be: it is about to be sent to a client. */
function decodeResponse(bytes: Uint8Array): StoredResponse {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.length < PREFIX_BYTES) throw recordCorrupt("its response is cut off");
  const headEnd = PREFIX_BYTES + view.readUInt32BE(1);
  if (headEnd > view.length) throw recordCorrupt("its response is cut off");
  const { status, headers, outer, removed = [] } = parseHead(view.toString("utf8", PREFIX_BYTES, headEnd));
  if (!isFinalStatus(status)) throw recordCorrupt("its status can't be sent");
  if (!Array.isArray(headers) || !headers.every(isSendableHeader)) throw recordCorrupt("its headers can't be sent");
  if (!Array.isArray(outer) || !outer.every((name) => typeof name === "string")) {
    throw recordCorrupt("its header names can't be read");
  }
  if (!Array.isArray(removed) || !removed.every((name) => isSendableHeader([name, ""]))) {
    throw recordCorrupt("its header names can't be read");
  }
  return new StoredResponse(status, headers, outer, Uint8Array.prototype.slice.call(bytes, headEnd), removed);
}

function parseHead(text: string): { status?: unknown; headers?: unknown; outer?: unknown; removed?: unknown } {
  let head: unknown;
  try {
    head = JSON.parse(text);
  } catch {
    throw recordCorrupt("its headers can't be read");
  }
  if (typeof head !== "object" || head === null) throw recordCorrupt("its headers can't be read");
  return head;
}
