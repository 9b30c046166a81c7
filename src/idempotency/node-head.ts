import type { ServerResponse } from "node:http";
import { type HeaderPair, isBodiless } from "./http-headers.ts";
import type { CapturedResponse } from "./http-policy.ts";

/** A response less its body. */
export type ResponseHead = Omit<CapturedResponse, "body" | "isRefused" | "isThrown">;

/** The lines of each header by its lower-case name. */
export type HeaderLines = ReadonlyMap<string, readonly string[]>;

/** The headers that are set now. */
export function headerLines(res: ServerResponse): HeaderLines {
  return new Map(res.getHeaderNames().map((name) => [name, linesOf(res.getHeader(name))]));
}

/** Puts the headers of an earlier moment back, as if there had been none since. */
export function restoreHeaders(res: ServerResponse, before: HeaderLines): void {
  for (const name of res.getHeaderNames()) res.removeHeader(name);
  for (const [name, lines] of before) res.setHeader(name, lines.length === 1 ? (lines[0] ?? "") : lines);
  res.statusMessage = "";
}

/** Headers about the very body that is kept: what an outer layer says of another one must not take their place. */
const OF_THE_BODY = /^(content-.*|vary)$/;

/**
 * The status and headers that are set now, and which of the latter are an outer layer's: those that were there `before`
 * the handler, and those that have changed since they were as in `after` it.
 */
export function readHead(res: ServerResponse, before: HeaderLines, after?: HeaderLines): ResponseHead {
  const headers: HeaderPair[] = [];
  const outer: string[] = [];
  for (const name of rawHeaderNames(res)) {
    const lower = name.toLowerCase();
    const earlier = before.get(lower);
    let lines = linesOf(res.getHeader(name));
    const own = after === undefined ? lines : (after.get(lower) ?? []);
    // Cookies are lines for themselves: those of an outer layer are set by it again.
    if (lower === "set-cookie") lines = lines.filter((line) => own.includes(line) && !earlier?.includes(line));
    else if (areEqual(lines, earlier) || !(areEqual(lines, own) || OF_THE_BODY.test(lower))) outer.push(lower);
    for (const line of lines) headers.push([name, line]);
  }
  const removed = [...before.keys()].filter((name) => !res.hasHeader(name));
  return { status: res.statusCode, headers, outer, removed };
}

function areEqual(lines: readonly string[], others: readonly string[] | undefined): boolean {
  return lines.join("\n") === others?.join("\n");
}

/** What Node takes for no status message. */
const NOT_A_REASON = /[^\t\x20-\x7e\x80-\xff]/;

/** @throws Error what Node throws for a head that it does not send: while there is nothing to be taken back yet. */
export function validateHead(res: ServerResponse): void {
  if (res.statusMessage && NOT_A_REASON.test(res.statusMessage)) {
    throw Object.assign(new TypeError("Invalid character in statusMessage"), { code: "ERR_INVALID_CHAR" });
  }
  if (res.hasHeader("trailer") && !isChunked(res)) {
    const message = "Trailers are invalid with this transfer encoding";
    throw Object.assign(new Error(message), { code: "ERR_HTTP_TRAILER_INVALID" });
  }
}

function isChunked(res: ServerResponse): boolean {
  if (isBodiless(res.statusCode)) return false;
  const coding = res.getHeader("transfer-encoding");
  if (coding !== undefined) return /(?:^|\W)chunked(?:$|\W)/i.test(String(coding));
  return res.req?.method !== "HEAD" && res.useChunkedEncodingByDefault && !res.hasHeader("content-length");
}

/** `writeHead`'s headers: an object, a flat list, or a list of pairs. They replace what was set, lists line by line. */
export function applyHeaders(res: ServerResponse, given: unknown): void {
  if (typeof given !== "object" || given === null) return;
  if (!Array.isArray(given)) {
    for (const [name, value] of Object.entries(given)) res.setHeader(name, value as string);
    return;
  }
  const flat: unknown[] = Array.isArray(given[0]) ? given.flat() : given;
  for (let at = 0; at < flat.length; at += 2) res.removeHeader(String(flat[at]));
  for (let at = 0; at + 1 < flat.length; at += 2) res.appendHeader(String(flat[at]), flat[at + 1] as string);
}

/** The names as they were written; only lower case where the response doesn't remember. */
function rawHeaderNames(res: ServerResponse): string[] {
  const { getRawHeaderNames } = res as { getRawHeaderNames?: () => string[] };
  return getRawHeaderNames === undefined ? res.getHeaderNames() : getRawHeaderNames.call(res);
}

function linesOf(value: number | string | readonly string[] | undefined): string[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value.map(String) : [String(value)];
}
