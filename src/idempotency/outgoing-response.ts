import type { HeaderPair } from "./http-headers.ts";
import { type HttpProblem, retryAfterSeconds } from "./http-problem.ts";

/** A response that the layer sends itself. `Content-Length` is the shim's to compute. */
export interface OutgoingResponse {
  readonly status: number;
  readonly headers: readonly HeaderPair[];
  /** Lower-case names of headers that give way to what an outer layer has set. */
  readonly outer: readonly string[];
  /** Lower-case names of headers that an outer layer may have set and that are not sent. */
  readonly removed: readonly string[];
  readonly body: Uint8Array;
}

/** The response of a problem document, or of the one that takes its place. */
export function problemResponse(
  document: HttpProblem,
  replace: (document: HttpProblem) => HttpProblem | undefined,
): OutgoingResponse {
  const chosen = chosenProblem(document, replace);
  const { status, retryAfterMs } = chosen;
  const headers: HeaderPair[] = [["Content-Type", "application/problem+json"]];
  if (Number.isFinite(retryAfterMs)) headers.push(["Retry-After", String(retryAfterSeconds(retryAfterMs as number))]);
  return { status, headers, outer: [], removed: [], body: Buffer.from(JSON.stringify(chosen)) };
}

/** A refusal stays one: what is no problem document with the status of an error is not taken. */
function chosenProblem(
  document: HttpProblem,
  replace: (document: HttpProblem) => HttpProblem | undefined,
): HttpProblem {
  try {
    const chosen = replace(document);
    return chosen !== undefined && isErrorStatus(chosen.status) && typeof JSON.stringify(chosen) === "string"
      ? chosen
      : document;
  } catch {
    return document;
  }
}

function isErrorStatus(status: unknown): boolean {
  return Number.isInteger(status) && Number(status) >= 400 && Number(status) <= 599;
}
