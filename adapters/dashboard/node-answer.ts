import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { dropRejection } from "../../src/rejections.ts";
import { untilTooLarge } from "./body-bytes.ts";

/** A request of Node, and what frameworks add to it. */
export type NodeRequest = IncomingMessage & {
  /** Express and Connect: the whole path, where `url` has lost the mount's. */
  readonly originalUrl?: unknown;
  /** Express: the mount's path. */
  readonly baseUrl?: unknown;
  /** What a parser has made of the body. */
  readonly body?: unknown;
};

/** The type of an answer that has no end of its own. */
export const EVENT_STREAM = "text/event-stream";

interface RequestParts {
  /** With the query. */
  readonly path: string;
  /** Where a parser has read the body, what it made of it. */
  readonly body: unknown;
  readonly signal: AbortSignal;
}

/**
 * The request as the Fetch standard has it.
 * @throws TypeError for a method or a header that can't be one there; what reading the body did.
 */
export async function webRequest(req: NodeRequest, { path, body, signal }: RequestParts): Promise<Request> {
  const method = req.method ?? "GET";
  const headers = new Headers();
  for (const [name, value] of Object.entries(req.headers)) {
    // Those of HTTP/2 that are no headers.
    if (value !== undefined && !name.startsWith(":")) headers.set(name, String(value));
  }
  const authority = req.headers[":authority"];
  if (authority !== undefined) headers.set("host", String(authority));
  const url = `http://localhost${path.startsWith("/") ? path : `/${path}`}`;
  const hasBody = method !== "GET" && method !== "HEAD";
  return new Request(url, { method, headers, signal, ...(hasBody ? { body: await bodyOf(req, body) } : {}) });
}

/** What a parser has left of it, or made of it. */
async function bodyOf(req: IncomingMessage, parsed: unknown): Promise<Uint8Array<ArrayBuffer> | string> {
  if (typeof parsed === "string" || parsed instanceof Uint8Array) return parsed as Uint8Array<ArrayBuffer> | string;
  if (typeof parsed === "object" && parsed !== null) return JSON.stringify(parsed);
  if (req.readableEnded) return "";
  // The connection is still to be answered on.
  return untilTooLarge(req.iterator({ destroyOnReturn: false }));
}

/** Sends an answer, no faster than it is taken. A client that leaves ends what it is made of. */
export async function sendAnswer(answer: Response, req: IncomingMessage, res: ServerResponse): Promise<void> {
  res.statusCode = answer.status;
  for (const [name, value] of answer.headers) res.setHeader(name, value);
  const reader = answer.body?.getReader();
  if (reader === undefined) return void res.end();
  if (req.method === "HEAD" || res.destroyed) {
    dropRejection(reader.cancel());
    return void res.end();
  }
  // What fails or leaves while nothing is taken is told by that.
  const over = new AbortController();
  reader.closed.catch(() => over.abort());
  res.once("close", () => {
    over.abort();
    dropRejection(reader.cancel());
  });
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (!res.write(value)) await once(res, "drain", { signal: over.signal });
    }
    // It ends because the dashboard does, which waits for nobody who does not take what he was sent.
    if (isStreamOfEvents(answer) && res.writableLength > 0) res.destroy();
    else res.end();
  } catch {
    // Half an answer must not look like a whole one.
    res.destroy();
  }
}

function isStreamOfEvents({ headers }: Response): boolean {
  return headers.get("content-type") === EVENT_STREAM;
}
