import type { HeaderPair } from "./http-headers.ts";
import type { CapturedResponse } from "./http-policy.ts";
import type { OutgoingResponse } from "./outgoing-response.ts";

/** What the constructor of `Response` takes. */
const LARGEST_STATUS = 599;

/** Statuses whose `Response` must have no body (Fetch standard, "null body status"). */
const NULL_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

/** The status and headers of a response, and which of the latter an outer layer had set before. */
export function readWebHead(
  { status, headers }: Response,
  before: Headers,
): Pick<CapturedResponse, "status" | "headers" | "outer" | "removed"> {
  const cookiesBefore = before.getSetCookie();
  // Cookies are lines for themselves: those of an outer layer are set by it again.
  const pairs = [...headers].filter(([name, value]) => name !== "set-cookie" || !cookiesBefore.includes(value));
  const outer = [...before.keys()].filter((name) => name !== "set-cookie" && before.get(name) === headers.get(name));
  const removed = [...before.keys()].filter((name) => !headers.has(name));
  return { status, headers: pairs, outer, removed };
}

/** Whether a `Response` can have this status. */
export function isWebStatus(status: number): boolean {
  return status >= 200 && status <= LARGEST_STATUS;
}

/** The `Response` of an answer of the layer, or of a replay. What an outer layer has set for itself stays. */
export function webResponse(
  { status, headers, outer, removed, body }: OutgoingResponse,
  method: string,
  before: Headers,
): Response {
  const merged = new Headers(before);
  for (const name of removed) merged.delete(name);
  for (const [name, lines] of linesOf(headers)) {
    if (name !== "set-cookie") {
      if (outer.includes(name) && merged.has(name)) continue;
      merged.delete(name);
    }
    for (const line of lines) merged.append(name, line);
  }
  // Servers compute the length themselves, of what outer layers may have made of the body by then.
  if (method !== "HEAD") merged.delete("content-length");
  // An empty body is null, as handlers say it most: servers give one that is there a media type of their own.
  const content = body.byteLength === 0 || NULL_BODY.has(status) ? null : (body as Uint8Array<ArrayBuffer>);
  return new Response(content, { status, headers: merged });
}

function linesOf(headers: readonly HeaderPair[]): Map<string, string[]> {
  const lines = new Map<string, string[]>();
  for (const [name, value] of headers) {
    const lower = name.toLowerCase();
    lines.set(lower, [...(lines.get(lower) ?? []), value]);
  }
  return lines;
}
