/** One header line. Lists of these keep what an object loses: several lines of one name. */
export type HeaderPair = readonly [name: string, value: string];

/** Which headers of a response are kept for its replay. */
export interface HeaderPolicy {
  /** Lower-case names that are never kept. */
  readonly excludeHeaders: ReadonlySet<string>;
  readonly setCookie: "drop" | "replay";
  /** Lower-case name of the header that marks a replay: it is the layer's own. */
  readonly replayHeader: string;
}

/** RFC 9110, section 7.6.1, and what else belongs to one connection or one moment. */
const NEVER_KEPT: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "date",
  "content-length",
]);

/** The end-to-end headers that a replay repeats. */
export function keptHeaders(headers: readonly HeaderPair[], policy: HeaderPolicy): HeaderPair[] {
  const named = new Set<string>();
  for (const [name, value] of headers) {
    if (name.toLowerCase() !== "connection") continue;
    for (const option of value.split(",")) named.add(option.trim().toLowerCase());
  }
  return headers.filter(([name]) => {
    const lower = name.toLowerCase();
    if (NEVER_KEPT.has(lower) || named.has(lower)) return false;
    if (lower === "set-cookie") return policy.setCookie === "replay" && !policy.excludeHeaders.has(lower);
    return lower !== policy.replayHeader && !policy.excludeHeaders.has(lower);
  });
}

/** The first value of a header. */
export function headerOf(headers: readonly HeaderPair[], lowerName: string): string | undefined {
  return headers.find(([name]) => name.toLowerCase() === lowerName)?.[1];
}

/** The headers but those of one name. */
export function withoutHeader(headers: readonly HeaderPair[], lowerName: string): HeaderPair[] {
  return headers.filter(([name]) => name.toLowerCase() !== lowerName);
}

/** RFC 9110, section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** RFC 9110, section 5.5: no control characters but the tab, nothing that is not one byte. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Whether a header can be sent without being mistaken for two, or for the body. */
export function isSendableHeader(pair: unknown): pair is HeaderPair {
  if (!Array.isArray(pair) || pair.length !== 2) return false;
  const [name, value] = pair as unknown[];
  return typeof name === "string" && typeof value === "string" && TOKEN.test(name) && VALUE.test(value);
}

/** Whether a status can be that of a whole answer. */
export function isFinalStatus(status: unknown): status is number {
  return Number.isInteger(status) && (status as number) >= 200 && (status as number) <= 999;
}

/** Whether an answer of this status has no body by its nature (RFC 9110, section 6.4.1). */
export function isBodiless(status: number): boolean {
  return status < 200 || status === 204 || status === 304;
}
