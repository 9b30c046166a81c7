import type { HttpBody } from "./http-fingerprint.ts";
import { RequestTooLarge } from "./http-policy.ts";

/**
 * The body of a request: its bytes where nobody has read them yet, of a clone, so that the handler gets the very request
 * with an unread, equal body; else what is left of it.
 *
 * `clone()` and not a new `Request` over the bytes: that would lose the subclass that a framework hands on, and whatever is
 * keyed by the object. Until the handler reads its half the body is in memory once more.
 * @throws RequestTooLarge over `maxBytes`. Rejects when the client leaves.
 */
export async function webBody(
  request: Request,
  maxBytes: number,
  usedBody: () => Promise<HttpBody>,
): Promise<HttpBody> {
  if (request.bodyUsed) return usedBody();
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) throw new RequestTooLarge();
  const { body } = request;
  if (body === null) return { kind: "bytes", bytes: new Uint8Array(0) };
  // Somebody is reading it at this moment.
  if (body.locked) return { kind: "gone" };
  return { kind: "bytes", bytes: await bytesOf(request.clone(), maxBytes) };
}

async function bytesOf({ body }: Request, maxBytes: number): Promise<Uint8Array> {
  const reader = (body as ReadableStream<Uint8Array>).getReader();
  const pieces: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return concatenated(pieces);
    pieces.push(value);
    size += value.byteLength;
    if (size > maxBytes) {
      // Of the clone alone: where the request's own half is cancelled too, servers close the connection before the answer.
      reader.cancel().catch(() => {});
      throw new RequestTooLarge();
    }
  }
}

/** One array of several. */
export function concatenated(pieces: readonly Uint8Array[]): Uint8Array {
  const [only] = pieces;
  if (only !== undefined && pieces.length === 1) return only;
  const whole = new Uint8Array(pieces.reduce((size, { byteLength }) => size + byteLength, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.byteLength;
  }
  return whole;
}
