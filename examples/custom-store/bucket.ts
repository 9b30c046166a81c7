import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A bucket on loopback, with the conditional writes of a real one. */
export interface Bucket {
  /** Of an object that is not there yet. */
  readonly url: string;
  /** What the object holds; absent until it was written. */
  body: string | undefined;
  /** Answers nothing until what it returns is called. */
  hold(): () => void;
  close(): Promise<void>;
}

/** For the example and its test; a real one is a URL away. */
export async function startBucket(): Promise<Bucket> {
  let version = 0;
  let held: Promise<void> | undefined;
  const server = createServer((request, response) => {
    // A caller that hangs up gets no answer.
    serve(request, response).catch(() => response.destroy());
  });
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    await held;
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const etag = `"${version}"`;
    if (request.method !== "PUT") return answer(response, bucket.body === undefined ? 404 : 200, etag, bucket.body);
    const { "if-match": ifMatch, "if-none-match": ifNoneMatch } = request.headers;
    const isCurrent = bucket.body === undefined ? ifNoneMatch === "*" : ifMatch === etag;
    if (!isCurrent) return answer(response, 412, etag);
    version += 1;
    bucket.body = Buffer.concat(chunks).toString();
    return answer(response, 200, `"${version}"`);
  };
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const bucket: Bucket = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/ledger`,
    body: undefined,
    hold() {
      let letGo = (): void => {};
      held = new Promise((resolve) => {
        letGo = resolve;
      });
      return letGo;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return bucket;
}

function answer(response: ServerResponse, status: number, etag: string, body = ""): void {
  response.writeHead(status, { ETag: etag });
  response.end(body);
}
