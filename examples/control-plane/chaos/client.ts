import { request } from "node:http";
import type { Answer, RequestFacts } from "./facts.ts";

/** What is sent, once or more often. */
export interface Letter {
  readonly key: string;
  readonly method: RequestFacts["method"];
  readonly path: string;
  readonly body?: string;
}

/** `again`: nobody can say yet, or nobody is there. */
export type Reply = { readonly kind: "answer"; readonly answer: Answer } | { readonly kind: "again" };

/** A copy that is frozen takes connections, too. */
const ANSWERS_WITHIN_MS = 5_000;

/**
 * Statuses after which the same request may be sent again: another one of its key is being executed (the only 409 with a
 * `Retry-After`), or the ledger can't be reached.
 */
const AGAIN: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/** Sends a request to a copy, on a connection of its own, and waits for the reply. */
export function send({ name, url }: { readonly name: string; readonly url: string }, letter: Letter): Promise<Reply> {
  return new Promise((resolve) => {
    const sent = post(url, letter);
    sent.setTimeout(ANSWERS_WITHIN_MS, () => sent.destroy());
    sent.once("error", () => resolve({ kind: "again" }));
    sent.once("close", () => resolve({ kind: "again" }));
    sent.once("response", (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece: Buffer) => pieces.push(piece));
      response.once("error", () => resolve({ kind: "again" }));
      response.once("end", () => {
        const { statusCode: status = 0, headers } = response;
        if (AGAIN.has(status) || (status === 409 && headers["retry-after"] !== undefined))
          return resolve({ kind: "again" });
        const body = Buffer.concat(pieces).toString();
        const replayed = headers["idempotent-replayed"] === "true";
        resolve({ kind: "answer", answer: { copy: name, status, body, replayed } });
      });
    });
    sent.end(letter.body);
  });
}

/** Sends a request, and breaks the connection some milliseconds later: whether it was answered nobody knows. */
export function sendAndDrop(url: string, letter: Letter, afterMs: number): Promise<void> {
  return new Promise((resolve) => {
    const sent = post(url, letter);
    sent.once("error", () => {});
    sent.once("close", () => resolve());
    sent.end(letter.body, () => void setTimeout(() => sent.destroy(), afterMs));
    sent.setTimeout(ANSWERS_WITHIN_MS, () => sent.destroy());
  });
}

function post(url: string, { key, method, path, body }: Letter) {
  return request(`${url}${path}`, {
    method,
    agent: false,
    headers: {
      "idempotency-key": key,
      ...(body === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
    },
  });
}
