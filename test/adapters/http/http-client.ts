import { Agent, type ClientRequest, type IncomingHttpHeaders, request } from "node:http";

/** An answer with everything that a replay has to repeat. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  readonly text: string;
}

export interface Sending {
  readonly path?: string;
  readonly method?: string;
  readonly key?: string | readonly string[];
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** Objects are sent as JSON. */
  readonly body?: unknown;
}

/** A client over keep-alive sockets of its own. */
export class HttpClient {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });
  readonly #port: number;

  constructor(port: number) {
    this.#port = port;
  }

  /** Sends a request whose body the caller writes and ends, and without `onAnswer` reads the answer of, too. */
  open(sending: Sending, onAnswer?: (answer: Answer) => void): ClientRequest {
    const { path = "/", method = "POST", key, headers = {} } = sending;
    const sent = request({
      agent: this.#agent,
      host: "127.0.0.1",
      port: this.#port,
      path,
      method,
      headers: { ...(key === undefined ? {} : { "Idempotency-Key": key }), ...headers } as Record<string, string>,
    });
    if (onAnswer === undefined) return sent;
    sent.on("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", (error) => sent.emit("error", error));
      response.on("end", () => {
        const body = Buffer.concat(chunks);
        const { statusCode = 0, headers: received, rawHeaders } = response;
        onAnswer({ status: statusCode, headers: received, rawHeaders, body, text: body.toString() });
      });
    });
    return sent;
  }

  /** Sends a request whose client may leave: what comes of it is nobody's business. */
  begin(sending: Sending = {}): ClientRequest {
    const sent = this.open({ ...sending, headers: { "Content-Length": "0", ...sending.headers } });
    sent.on("error", () => {});
    sent.on("response", (response) => response.on("error", () => {}).resume());
    sent.end();
    return sent;
  }

  send(sending: Sending = {}): Promise<Answer> {
    const { body } = sending;
    const isBytes = typeof body === "string" || body instanceof Uint8Array;
    const bytes = body === undefined || isBytes ? body : JSON.stringify(body);
    const type = body === undefined || isBytes ? {} : { "Content-Type": "application/json" };
    const length =
      bytes === undefined ? { "Content-Length": "0" } : { "Content-Length": `${Buffer.byteLength(bytes)}` };
    return new Promise((resolve, reject) => {
      const sent = this.open({ ...sending, headers: { ...type, ...length, ...sending.headers } }, resolve);
      sent.on("error", reject);
      sent.end(bytes);
    });
  }

  /** Sends a body piece by piece. */
  sendPieces(sending: Sending, pieces: readonly Uint8Array[]): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const sent = this.open(sending, resolve);
      sent.on("error", reject);
      const next = (at: number): void => {
        const piece = pieces[at];
        if (piece === undefined) sent.end();
        else sent.write(piece, () => setImmediate(next, at + 1));
      };
      next(0);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** The header lines but those of one moment or one connection, in lower case, sorted. */
export function endToEnd(answer: Answer): string[] {
  const skipped = new Set([
    "date",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "idempotent-replayed",
  ]);
  const lines: string[] = [];
  for (let at = 0; at < answer.rawHeaders.length; at += 2) {
    const name = String(answer.rawHeaders[at]).toLowerCase();
    if (!skipped.has(name)) lines.push(`${name}: ${answer.rawHeaders[at + 1]}`);
  }
  return lines.sort();
}

/** A problem document. */
export function problem(answer: Answer): Record<string, unknown> {
  return JSON.parse(answer.text);
}

/** Its code, where an answer is a problem document of the layer. */
export function problemCode(answer: Answer): unknown {
  return answer.headers["content-type"] === "application/problem+json" ? problem(answer)["code"] : undefined;
}
