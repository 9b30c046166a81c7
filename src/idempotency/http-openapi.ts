import { EvenkeelError, type EvenkeelErrorCode } from "../errors.ts";
import { type HttpOptions, type HttpSettings, httpSettings } from "./http-options.ts";
import {
  type HttpProblem,
  type HttpProblemCode,
  problemOf,
  requestTooLarge,
  retryAfterSeconds,
} from "./http-problem.ts";

/**
 * What an operation of an OpenAPI 3.1 document (and 3.0) says of its idempotency: to be merged into the operation.
 */
export interface OpenApiFragment {
  /** For the operation's `parameters`. */
  readonly parameters: readonly OpenApiParameter[];
  /** For the operation's `responses`: the answers of the layer by their status. */
  readonly responses: Readonly<Record<string, OpenApiResponse>>;
  /** For the `headers` of those responses that are kept: how a replay is marked. */
  readonly replayHeaders: Readonly<Record<string, OpenApiHeader>>;
}

export interface OpenApiParameter extends OpenApiHeader {
  readonly name: string;
  readonly in: "header";
  readonly required: boolean;
  readonly example: string;
}

export interface OpenApiHeader {
  readonly description: string;
  readonly schema: OpenApiSchema;
}

export interface OpenApiResponse {
  readonly description: string;
  readonly headers?: Readonly<Record<string, OpenApiHeader>>;
  readonly content: {
    readonly "application/problem+json": {
      readonly schema: OpenApiSchema;
      readonly examples: Readonly<Record<string, { readonly summary: string; readonly value: HttpProblem }>>;
    };
  };
}

/** A JSON schema. */
export type OpenApiSchema = Readonly<Record<string, unknown>>;

/**
 * The policy of a shim's options as OpenAPI: the header, and the answers of the layer that these options can lead to. The
 * draft asks a service to publish what a key looks like, how long it is remembered and what is compared
 * (`draft-ietf-httpapi-idempotency-key-header-07`, section 2).
 *
 * What `onProblem` makes of a document is not known here. The result is plain JSON, made anew by each call.
 *
 * @param options - those of the shim, as they are given to it.
 * @throws EvenkeelError `INVALID_OPTIONS`, as the shim itself does.
 * @example
 * ```ts
 * import { type HttpOptions, idempotency, openApiFragment } from "evenkeel/express";
 * import type { Request } from "express";
 *
 * const options: HttpOptions<Request> = { store, scope: (req) => req.user.id, required: true };
 * app.use(idempotency(options));
 * const { parameters, responses } = openApiFragment(options);
 * document.paths["/payments"].post = { ...post, parameters, responses: { ...post.responses, ...responses } };
 * ```
 */
export function openApiFragment<Request>(options: HttpOptions<Request>): OpenApiFragment {
  const settings = httpSettings("openApiFragment", options);
  const responses: Record<string, OpenApiResponse> = {};
  for (const [status, codes] of codesByStatus(settings, options)) responses[status] = responseOf(codes);
  return {
    parameters: [parameterOf(settings, [options.header ?? DEFAULT_HEADERS].flat())],
    responses,
    replayHeaders: {
      [settings.replayHeaderName]: {
        description: "`true` where the response is that of an earlier request with the same key. Absent otherwise.",
        schema: { type: "string", enum: ["true"] },
      },
    },
  };
}

const DEFAULT_HEADERS = ["Idempotency-Key", "X-Idempotency-Key"];

function parameterOf(settings: HttpSettings<never>, [name = "", ...others]: readonly string[]): OpenApiParameter {
  const { strictKey, required, execution } = settings;
  const methods = [...settings.methods].join(", ");
  const sentences = [
    `Identifies this request (${methods}), so that it can be sent again without being carried out twice.`,
    strictKey
      ? "An RFC 8941 string: 1 to 255 printable ASCII characters in double quotes."
      : "1 to 255 characters: an RFC 8941 string in double quotes, or the same without them.",
    `It is remembered for ${durationOf(execution.retentionMs)} after the request was completed.`,
    comparisonOf(settings),
    ...(others.length === 0 ? [] : [`${others.join(" and ")} ${others.length === 1 ? "is" : "are"} taken too.`]),
  ];
  return {
    name,
    in: "header",
    required,
    description: sentences.join(" "),
    schema: strictKey
      ? { type: "string", minLength: 3, pattern: '^"(?:[\\x20\\x21\\x23-\\x5b\\x5d-\\x7e]|\\\\["\\\\])+"' }
      : { type: "string", minLength: 1 },
    example: '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
  };
}

function comparisonOf({ fingerprint }: HttpSettings<never>): string {
  if (fingerprint === false) return "The payload of a request that is sent again is not compared.";
  const payload =
    fingerprint === undefined ? "query, media type and body" : "payload, as far as the service compares it,";
  return `A request that is sent again must have the same ${payload}, or is refused with 422.`;
}

/** Which problems these options can lead to, in the order of their statuses. */
function codesByStatus(
  { required, fingerprint, operation, execution }: HttpSettings<never>,
  { onAbandoned = "takeover", onStoreError, onCompleteFailure }: HttpOptions<never>,
): ReadonlyMap<string, readonly HttpProblemCode[]> {
  const waits = execution.inFlight === "wait";
  const readsBody = fingerprint === undefined;
  // With the default operation the path and the method are those of every request that has the record.
  const compares = fingerprint !== false || operation !== undefined;
  const answersUnavailable = onStoreError !== "open" || onCompleteFailure === "throw";
  const codes: [HttpProblemCode, boolean][] = [
    ["KEY_MISSING", required],
    ["KEY_INVALID", true],
    ["INVALID_FINGERPRINT", fingerprint !== false],
    [waits ? "WAIT_TIMEOUT" : "IN_PROGRESS", true],
    ["RESULT_NOT_REPLAYABLE", true],
    ["LEASE_LOST", true],
    ["ABANDONED", onAbandoned !== "takeover"],
    ["REQUEST_TOO_LARGE", readsBody],
    ["FINGERPRINT_MISMATCH", compares],
    ["STORE_UNAVAILABLE", answersUnavailable],
    ["TOO_MANY_WAITERS", waits],
  ];
  const byStatus = new Map<string, HttpProblemCode[]>();
  for (const [code, isPossible] of codes) {
    if (!isPossible) continue;
    const status = String(exampleOf(code).status);
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return byStatus;
}

function responseOf(codes: readonly HttpProblemCode[]): OpenApiResponse {
  const documents = codes.map(exampleOf);
  const [retryable] = documents.filter(({ retryAfterMs }) => retryAfterMs !== undefined);
  return {
    description: documents.map(({ title }) => `${title}.`).join(" "),
    ...(retryable === undefined ? {} : { headers: { "Retry-After": RETRY_AFTER } }),
    content: {
      "application/problem+json": {
        schema: schemaOf(documents),
        examples: Object.fromEntries(
          documents.map((document) => [document.code, { summary: document.title, value: document }]),
        ),
      },
    },
  };
}

const RETRY_AFTER: OpenApiHeader = {
  description: "In how many seconds the same request may be sent again, where that makes sense.",
  schema: { type: "integer", minimum: retryAfterSeconds(1) },
};

/** RFC 9457, section 3.1, and the layer's own members. */
function schemaOf(documents: readonly HttpProblem[]): OpenApiSchema {
  return {
    type: "object",
    required: ["type", "title", "status", "detail", "code", "retryable"],
    properties: {
      type: { type: "string", format: "uri", enum: documents.map(({ type }) => type) },
      title: { type: "string" },
      status: { type: "integer", enum: [...new Set(documents.map(({ status }) => status))] },
      detail: { type: "string" },
      code: { type: "string", enum: documents.map(({ code }) => code) },
      retryable: { type: "boolean", description: "Whether the same request may succeed later." },
      retryAfterMs: { type: "integer", minimum: 0, description: "Milliseconds after which that makes sense." },
    },
  };
}

function exampleOf(code: HttpProblemCode): HttpProblem {
  if (code === "REQUEST_TOO_LARGE") return requestTooLarge();
  // Its own words are not in the document but for these two, which say what was wrong with one request.
  const message = EXAMPLES[code] ?? "";
  return problemOf(new EvenkeelError(code, message));
}

const EXAMPLES: Readonly<Partial<Record<EvenkeelErrorCode, string>>> = {
  KEY_INVALID: "The idempotency key is longer than 255 characters.",
  INVALID_FINGERPRINT: "The request can't be compared: its body was read before, and nothing of it is left.",
};

const UNITS = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1_000],
  ["millisecond", 1],
] as const;

/** A duration in the largest unit that says it in whole numbers. */
function durationOf(ms: number): string {
  const [unit, unitMs] = UNITS.find(([, size]) => ms >= size && ms % size === 0) ?? ["millisecond", 1];
  const count = ms / unitMs;
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}
