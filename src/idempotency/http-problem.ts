import type { EvenkeelError, EvenkeelErrorCode } from "../errors.ts";

/** What can go wrong between a request and its handler: every code of the library, and a body that is too large to read. */
export type HttpProblemCode = EvenkeelErrorCode | "REQUEST_TOO_LARGE";

/**
 * An answer of the layer itself, as `application/problem+json` (RFC 9457). It holds no key and nothing of what is stored.
 */
export interface HttpProblem {
  /** `urn:evenkeel:problem:` and the code in kebab case. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: HttpProblemCode;
  /** Whether the same request may succeed later, with nothing changed. */
  readonly retryable: boolean;
  /** Milliseconds after which a retry makes sense; the `Retry-After` header says it in whole seconds. */
  readonly retryAfterMs?: number;
  /** Members of your own, from `onProblem`. */
  readonly [extension: string]: unknown;
}

interface ProblemKind {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  /** Whether the answer says when to come back also where the error doesn't know. */
  readonly retryAfter?: true;
}

/** Said where the error doesn't know how long it will take. */
const DEFAULT_RETRY_AFTER_MS = 1_000;

const USAGE = "This operation is idempotent and requires correct usage of the Idempotency-Key header";

/**
 * Statuses and titles of `draft-ietf-httpapi-idempotency-key-header-07`, section 2.7, where it has them. The details are
 * fixed texts: an error's own message may be about the store.
 */
const KINDS: Readonly<Partial<Record<HttpProblemCode, ProblemKind>>> = {
  KEY_MISSING: { status: 400, title: "Idempotency-Key is missing", detail: `${USAGE}: the header is missing.` },
  KEY_INVALID: { status: 400, title: "Idempotency-Key is malformed", detail: `${USAGE}.` },
  INVALID_FINGERPRINT: {
    status: 400,
    title: "The request can't be compared",
    detail: "The body of this request has no canonical form, so that a retry could not be told from another request.",
  },
  FINGERPRINT_MISMATCH: {
    status: 422,
    title: "Idempotency-Key is already used",
    detail: `${USAGE}: a key must not be reused across different payloads of this operation.`,
  },
  IN_PROGRESS: {
    status: 409,
    title: "A request is outstanding for this Idempotency-Key",
    detail: "A request with the same Idempotency-Key for the same operation is being processed or is outstanding.",
    retryAfter: true,
  },
  WAIT_TIMEOUT: {
    status: 409,
    title: "A request is outstanding for this Idempotency-Key",
    detail: "A request with the same Idempotency-Key for the same operation is taking longer than this one could wait.",
    retryAfter: true,
  },
  NESTED_EXECUTION: {
    status: 409,
    title: "A request is outstanding for this Idempotency-Key",
    detail: "This request stands inside the one that it would wait for.",
  },
  LEASE_LOST: {
    status: 409,
    title: "A request is outstanding for this Idempotency-Key",
    detail: "This request was overtaken by another one with the same Idempotency-Key, whose outcome isn't known yet.",
    retryAfter: true,
  },
  RESULT_NOT_REPLAYABLE: {
    status: 409,
    title: "The response for this Idempotency-Key can't be replayed",
    detail:
      "The operation was carried out, but its response was too large or could not be kept. It will not run again.",
  },
  ABANDONED: {
    status: 409,
    title: "The outcome for this Idempotency-Key is unknown",
    detail: "An earlier request with this Idempotency-Key fell silent, and nobody knows what came of it.",
  },
  REQUEST_TOO_LARGE: {
    status: 413,
    title: "The request is too large",
    detail: "The body of this request is larger than what is read to tell a retry from another request.",
  },
  TOO_MANY_WAITERS: {
    status: 503,
    title: "Too many requests are waiting",
    detail: "Too many requests are waiting for the outcome of another one.",
    retryAfter: true,
  },
  STORE_UNAVAILABLE: {
    status: 503,
    title: "The idempotency store is unavailable",
    detail: "It can't be told whether this request is a retry, so it was not carried out or can't be confirmed.",
    retryAfter: true,
  },
  RECORD_CORRUPT: {
    status: 500,
    title: "The stored response can't be read",
    detail: "The record of this Idempotency-Key is damaged. Nothing ran.",
  },
  INVALID_OPTIONS: {
    status: 500,
    title: "The server's idempotency options are wrong",
    detail: "The server could not tell whose Idempotency-Key this is. Nothing ran.",
  },
};

const OTHER: ProblemKind = {
  status: 500,
  title: "The request can't be made idempotent",
  detail: "The idempotency layer failed.",
};

/** The document of an error. Of the error's own words only those that say what to change, and repeat nothing sent. */
export function problemOf(error: EvenkeelError): HttpProblem {
  const kind = KINDS[error.code] ?? OTHER;
  const retryAfterMs = error.retryAfterMs ?? (kind.retryAfter ? DEFAULT_RETRY_AFTER_MS : undefined);
  return {
    ...documentOf(error.code, error.retryable),
    ...(error.code === "KEY_INVALID" ? { detail: `${USAGE}. ${error.message}` } : {}),
    ...(error.code === "INVALID_FINGERPRINT" ? { detail: error.message } : {}),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

/** The document of a body over `maxRequestBytes`. */
export function requestTooLarge(): HttpProblem {
  return documentOf("REQUEST_TOO_LARGE", false);
}

/** Whole seconds, rounded up, at least one: a client that comes back too early has come in vain. */
export function retryAfterSeconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1_000));
}

function documentOf(code: HttpProblemCode, retryable: boolean): HttpProblem {
  const { status, title, detail } = KINDS[code] ?? OTHER;
  const type = `urn:evenkeel:problem:${code.toLowerCase().replaceAll("_", "-")}`;
  return { type, title, status, detail, code, retryable };
}
