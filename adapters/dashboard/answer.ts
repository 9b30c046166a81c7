/** What keeps the page to itself: it loads and runs nothing but what this server gives it, and stands in nobody's frame. */
const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
};

/** Answers of this moment, which nobody between may keep or change. */
const OF_THIS_MOMENT = "no-store, no-transform";

/** Why a request was refused. */
export interface Problem {
  readonly status: number;
  /** In kebab case; `urn:evenkeel:problem:` stands before it in the answer. */
  readonly type: string;
  readonly title: string;
  readonly detail?: string;
  /** The code of an `EvenkeelError`. */
  readonly code?: string;
  /** What of the request is wrong. */
  readonly errors?: readonly { readonly field: string; readonly message: string }[];
}

/** An answer with the headers that all have. */
export function answer(
  status: number,
  headers: Readonly<Record<string, string>>,
  body: string | ReadableStream<Uint8Array> | null,
): Response {
  return new Response(body, { status, headers: { "Cache-Control": OF_THIS_MOMENT, ...SECURITY_HEADERS, ...headers } });
}

/** An answer as JSON. */
export function jsonAnswer(status: number, value: unknown): Response {
  return answer(status, { "Content-Type": "application/json" }, JSON.stringify(value));
}

/** A refusal as a problem document (RFC 9457). */
export function problemAnswer({ type, ...problem }: Problem, headers: Readonly<Record<string, string>> = {}): Response {
  const document = JSON.stringify({ type: `urn:evenkeel:problem:${type}`, ...problem });
  return answer(problem.status, { "Content-Type": "application/problem+json", ...headers }, document);
}

/** The refusal of a request of which one part is wrong. */
export function invalidRequest(field: string, message: string): Problem {
  return {
    status: 400,
    type: "invalid-request",
    title: "The request is not valid",
    detail: `${field} ${message}.`,
    errors: [{ field, message }],
  };
}
