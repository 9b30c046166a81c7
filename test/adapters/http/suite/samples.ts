import type { Readable } from "node:stream";

/** What handlers of every framework answer with. */
export const ALL_BYTES = Buffer.from(Array.from({ length: 256 }, (_, value) => value));

/** A file that can be sent. */
export const HERE = import.meta.filename;

/** Frameworks show stacks, which would differ. */
export const NO_LUCK = (): Error => Object.assign(new Error("no luck"), { stack: "Error: no luck" });

/** Two pieces that come one after the other. */
export async function* lines(): AsyncGenerator<string> {
  for (const line of ["1\n", "2\n"]) {
    await new Promise(setImmediate);
    yield line;
  }
}

/** The whole of a stream. */
export async function bodyOf(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}
