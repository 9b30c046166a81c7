/** What `write()` and `end()` call back. */
export type WriteCallback = (error?: Error | null) => void;

/** A copy: the writer may use its buffer again. Undefined for what can't be written. */
export function bytesOf(chunk: unknown, encoding: unknown): Uint8Array | undefined {
  if (typeof chunk === "string") {
    return Buffer.from(chunk, typeof encoding === "string" ? (encoding as BufferEncoding) : "utf8");
  }
  return chunk instanceof Uint8Array ? Buffer.from(chunk) : undefined;
}

/** What Node tells a callback of a write after the end. */
export function afterEnd(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

/** What Node throws under `strictContentLength`. */
export function lengthMismatch(size: number, announced: number): Error {
  const message = `Response body's content-length of ${size} byte(s) does not match the content-length of ${announced} byte(s) set in header`;
  return Object.assign(new Error(message), { code: "ERR_HTTP_CONTENT_LENGTH_MISMATCH" });
}

/** `Promise.withResolvers`, which Node 20 lacks. */
export function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
