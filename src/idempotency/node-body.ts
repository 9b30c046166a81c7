import type { IncomingMessage, ServerResponse } from "node:http";
import type { HttpBody } from "./http-fingerprint.ts";
import { RequestTooLarge } from "./http-policy.ts";

/** A body that was not read to its end. */
const TOO_LARGE = Symbol("evenkeel.tooLarge");

/** Bodies that were read here and put back, for whoever asks again on the same request. */
const readBodies = new WeakMap<IncomingMessage, Uint8Array | typeof TOO_LARGE>();

/**
 * The body of a request: its bytes where nobody has read them yet, which are put back so that the handler and its parsers
 * find an unread, equal stream; else what a parser before has made of them.
 * @throws RequestTooLarge over `maxBytes`; the rest of the body is thrown away. Rejects when the client leaves.
 */
export async function nodeBody(req: IncomingMessage, maxBytes: number, parsed: () => HttpBody): Promise<HttpBody> {
  const known = readBodies.get(req);
  if (known === undefined && !isUnread(req)) return hasBody(req) ? leftOf(parsed()) : parsed();
  const bytes = known ?? (await readAndPutBack(req, maxBytes));
  if (bytes !== TOO_LARGE) return { kind: "bytes", bytes };
  req.resume();
  throw new RequestTooLarge();
}

/**
 * Reads a body that nobody has read yet before its parsers do, for `nodeBody` to give later. They find an unread, equal
 * stream. One over `maxBytes` is theirs as it comes, and `nodeBody` throws. Rejects when the client leaves.
 */
export async function readAhead(req: IncomingMessage, res: ServerResponse, maxBytes: number): Promise<void> {
  if (readBodies.has(req) || !isUnread(req)) return;
  const { letGo } = holdBody(req);
  res.once("finish", () => dropUnread(req));
  await readAndPutBack(req, maxBytes);
  letGo();
}

/** Throws what nobody has read away, so that the connection can take its next request. */
export function dropUnread(req: IncomingMessage): void {
  if (readBodies.has(req) && !req.readableEnded && !req.readableFlowing) req.resume();
}

/**
 * Keeps a body that nobody has read yet from flowing to listeners that are there already (a counter of bytes, a log): what
 * they are given can't be put back for the handler. To be called in the tick of the request. The listeners get everything
 * once the body is let go, together with the handler's own.
 */
export function holdBody(req: IncomingMessage): { letGo(): void } {
  const listeners = req.rawListeners("data") as ((chunk: unknown) => void)[];
  if (listeners.length === 0 || !isUnread(req)) return { letGo: () => {} };
  req.pause();
  const tellEnd = keepEnd(req);
  for (const listener of listeners) req.off("data", listener);
  return {
    letGo() {
      if (listeners.length === 0) return;
      tellEnd();
      for (const listener of listeners.splice(0)) req.on("data", listener);
      req.resume();
    },
  };
}

/** Node looks once into what was asked in this tick to flow, paused or not, and would tell the end of an empty body to nobody. */
function keepEnd(req: IncomingMessage): () => void {
  const { read } = req;
  const tellEnd = (): void => {
    req.read = read;
  };
  req.read = () => null;
  process.nextTick(tellEnd);
  return tellEnd;
}

function hasBody(req: IncomingMessage): boolean {
  const { "content-length": length, "transfer-encoding": coding } = req.headers;
  return coding !== undefined || Number(length ?? 0) > 0;
}

function isUnread(req: IncomingMessage): boolean {
  return hasBody(req) && !req.readableDidRead && !req.readableEnded && !req.destroyed;
}

/** What has become of a body that was read before; a reader that left nothing has made it invisible. */
function leftOf(body: HttpBody): HttpBody {
  const isGone = body.kind === "parsed" && body.value === undefined && (body.files ?? []).length === 0;
  return isGone ? { kind: "gone" } : body;
}

/** Whether all of a body is there. The requests of light-my-request don't say so themselves. */
function isComplete(req: IncomingMessage & { readonly _readableState?: { readonly ended?: boolean } }): boolean {
  return req.complete ?? req._readableState?.ended ?? false;
}

function readAndPutBack(req: IncomingMessage, maxBytes: number): Promise<Uint8Array | typeof TOO_LARGE> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;

    function settle(outcome: () => void): void {
      req.off("readable", onReadable);
      req.off("error", onError);
      req.off("close", onClose);
      outcome();
    }

    function putBack(read: Buffer, outcome: Uint8Array | typeof TOO_LARGE = read): void {
      settle(() => {
        // In the same tick as the last read, so that the end has not been told yet.
        const encoding = req.readableEncoding;
        if (read.length > 0) req.unshift(encoding === null ? read : read.toString(encoding), encoding ?? undefined);
        readBodies.set(req, outcome);
        resolve(outcome);
      });
    }

    function onReadable(): void {
      // Never read on when nothing is there: that would end the stream before its reader comes.
      while (req.readableLength > 0) {
        const chunk: Buffer | string | null = req.read();
        if (chunk === null) break;
        const bytes = typeof chunk === "string" ? Buffer.from(chunk, req.readableEncoding ?? "utf8") : chunk;
        chunks.push(bytes);
        size += bytes.length;
        if (size > maxBytes) return putBack(Buffer.concat(chunks), TOO_LARGE);
      }
      if (isComplete(req)) putBack(Buffer.concat(chunks));
    }

    const onError = (error: Error): void => settle(() => reject(error));
    const onClose = (): void => settle(() => reject(new Error("The client left before its request was complete.")));

    if (Number(req.headers["content-length"] ?? 0) > maxBytes) return putBack(Buffer.alloc(0), TOO_LARGE);
    req.on("error", onError);
    req.on("close", onClose);
    // Not in the tick of the request: an empty body may end in the same packet, and by listening now its end would be told.
    process.nextTick(() => {
      if (isComplete(req)) onReadable();
      else req.on("readable", onReadable);
    });
  });
}
