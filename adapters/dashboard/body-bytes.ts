/** More than any request of the page has. */
const MOST_BODY_BYTES = 16_384;

/** The bytes of a body, or as many as show that it is too large. */
export async function untilTooLarge(
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    size += chunk.byteLength;
    if (size > MOST_BODY_BYTES) break;
  }
  return new Uint8Array(Buffer.concat(chunks));
}

/** Whether a body is larger than any of ours. */
export function isTooLarge({ byteLength }: Uint8Array): boolean {
  return byteLength > MOST_BODY_BYTES;
}
