import type { IncomingMessage } from "node:http";
import type { HttpBody } from "./http-fingerprint.ts";
import { RequestTooLarge } from "./http-policy.ts";

/** Bodies that were read here and put back, for a second layer on the same request. */
const readBodies = new WeakMap<IncomingMessage, Uint8Array>();

/**
 * The body of a request: its bytes where nobody has read them yet, which are put back so that the handler and its parsers
 * find an unread, equal stream; else what a parser before has made of them.
 * @throws RequestTooLarge over `maxBytes`; the rest of the body is thrown away. Rejects when the client leaves.
 */
export async function nodeBody(req: IncomingMessage, maxBytes: number, parsed: () => HttpBody): Promise<HttpBody> {
  const known = readBodies.get(req);
  if (known !== undefined) return { kind: "bytes", bytes: known };
  if (!isUnread(req)) return parsed();
  const bytes = await readAndPutBack(req, maxBytes);
  readBodies.set(req, bytes);
  return { kind: "bytes", bytes };
}

/** Throws what nobody has read away, so that the connection can take its next request. */
export function dropUnread(req: IncomingMessage): void {
  if (readBodies.has(req) && !req.readableEnded && !req.readableFlowing) req.resume();
}

function isUnread(req: IncomingMessage): boolean {
  const { "content-length": length, "transfer-encoding": coding } = req.headers;
  const hasBody = coding !== undefined || Number(length ?? 0) > 0;
  return hasBody && !req.readableDidRead && !req.readableEnded && !req.destroyed;
}

function readAndPutBack(req: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;

    function settle(outcome: () => void): void {
      req.off("readable", onReadable);
      req.off("error", onError);
      req.off("close", onClose);
      outcome();
    }

    function refuse(): void {
      settle(() => {
        req.resume();
        reject(new RequestTooLarge());
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
        if (size > maxBytes) return refuse();
      }
      if (!req.complete) return;
      const body = Buffer.concat(chunks);
      settle(() => {
        // In the same tick as the last read, so that the end has not been told yet.
        if (body.length > 0) req.unshift(body);
        resolve(body);
      });
    }

    const onError = (error: Error): void => settle(() => reject(error));
    const onClose = (): void => settle(() => reject(new Error("The client left before its request was complete.")));

    if (Number(req.headers["content-length"] ?? 0) > maxBytes) return refuse();
    req.on("error", onError);
    req.on("close", onClose);
    if (req.complete) return onReadable();
    req.on("readable", onReadable);
  });
}
