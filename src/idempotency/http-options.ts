import { type Codec, taggedJson } from "../codec.ts";
import { acceptOptions, invalidOptions, type OptionRules, rules } from "../option-rules.ts";
import type { HeaderPair, HeaderPolicy } from "./http-headers.ts";
import type { KeyRules } from "./http-key.ts";
import type { HttpProblem } from "./http-problem.ts";
import { type CompletedResponse, type HttpOutcome, responseCodec, responseOf } from "./http-response.ts";
import {
  type AbandonedDecision,
  type AbandonedExecution,
  type ErrorDisposition,
  EXECUTION_RULES,
  type ExecutionOptions,
  type ExecutionSettings,
  executionSettings,
} from "./settings.ts";

/** A response as a `record` function sees it. */
export interface RecordedResponse {
  readonly status: number;
  /** One pair a header line. */
  readonly headers: readonly HeaderPair[];
  /** The bytes; undefined where they were too many to keep or have no end. */
  readonly body: Uint8Array | undefined;
}

/** Whether a response is kept for retries, or the key is free again. */
export type RecordDecision = "store" | "release";

/** The options of every HTTP shim. */
export interface HttpOptions<Request> extends Omit<ExecutionOptions<CompletedResponse>, "onError" | "maxResultBytes"> {
  /**
   * Whose key it is: the tenant or account that has been authenticated. Required, because keys of different tenants must
   * never meet; return `""` for an endpoint without any, on purpose. What it throws goes to the framework's error handler.
   */
  readonly scope: (request: Request) => string | Promise<string>;
  /** Stable name of what is done; part of the record's identity. Defaults to the method and full path. */
  readonly operation?: string | ((request: Request) => string);
  /** Whether a request without a key is refused with 400. Defaults to false: it passes through. */
  readonly required?: boolean;
  /** The methods that the layer looks at. Defaults to `["POST", "PATCH"]`. */
  readonly methods?: readonly string[];
  /** Where the key is; the first header that is there counts. Defaults to `["Idempotency-Key", "X-Idempotency-Key"]`. */
  readonly header?: string | readonly string[];
  /** Whether only an RFC 8941 string (`"k"`) is a key. Defaults to false: a bare `k` is the same key. */
  readonly strictKey?: boolean;
  /**
   * What of the payload has to be equal in a retry, beside the method and path; `false` compares nothing else. Defaults to
   * the query, the media type and the whole body.
   */
  readonly fingerprint?: false | ((request: Request) => unknown);
  /**
   * Which responses are kept: `"success"` a status below 400; `"deterministic"` also 4xx, but 401, 403, 407, 408, 409, 423,
   * 425 and 429; `"all"` everything. Others free the key, and so does an error that the handler throws, unless it is
   * `"all"`. Defaults to `"success"`.
   */
  readonly record?:
    | "success"
    | "deterministic"
    | "all"
    | ((status: number, response: RecordedResponse) => RecordDecision);
  /** How the outcomes of `step()` become bytes; responses have a layout of their own. Defaults to tagged JSON. */
  readonly codec?: Codec;
  /** The header that marks a replay. Defaults to `"Idempotent-Replayed"`. */
  readonly replayHeader?: string;
  /** Headers that are not kept, beside those of one connection or moment. Defaults to none. */
  readonly excludeHeaders?: readonly string[];
  /** Whether `Set-Cookie` lines are kept and replayed. Defaults to `"drop"`: a retry may come from another client. */
  readonly setCookie?: "drop" | "replay";
  /** A response body larger than this is not kept; a retry gets `RESULT_NOT_REPLAYABLE`. Defaults to 1,048,576. */
  readonly maxBodyBytes?: number;
  /** A larger request body that no parser has read is refused with 413. Defaults to 10,485,760. */
  readonly maxRequestBytes?: number;
  /** How long a claim is renewed after the client has left without an answer, in milliseconds. Defaults to 30,000. */
  readonly abandonAfterMs?: number;
  /** May replace an answer of the layer; undefined leaves it. It can't turn a refusal into a run. Defaults to none. */
  readonly onProblem?: (problem: HttpProblem, request: Request) => HttpProblem | undefined;
}

/** {@link HttpOptions} with every default in place. */
export interface HttpSettings<Request> extends KeyRules, HeaderPolicy {
  readonly scope: (request: Request) => string | Promise<string>;
  readonly operation: string | ((request: Request) => string) | undefined;
  readonly required: boolean;
  readonly methods: ReadonlySet<string>;
  readonly fingerprint: false | ((request: Request) => unknown) | undefined;
  readonly record: (response: RecordedResponse) => RecordDecision;
  /** Whether the framework's answer to a thrown error is kept like any other. */
  readonly recordsErrors: boolean;
  /** {@link HeaderPolicy.replayHeader} as it is sent. */
  readonly replayHeaderName: string;
  readonly maxBodyBytes: number;
  readonly maxRequestBytes: number;
  readonly abandonAfterMs: number;
  readonly onProblem: HttpOptions<Request>["onProblem"];
  readonly execution: ExecutionSettings<HttpOutcome>;
}

const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const isHeaderName = (value: unknown): value is string => typeof value === "string" && HEADER_NAME.test(value);
const isListOfNames = (value: unknown): boolean => Array.isArray(value) && value.every(isHeaderName);
const isFilledListOfNames = (value: unknown): boolean => isListOfNames(value) && (value as unknown[]).length > 0;

const { onError: _onError, maxResultBytes: _maxResultBytes, ...EXECUTION } = EXECUTION_RULES;

const HTTP_RULES: OptionRules = {
  ...EXECUTION,
  scope: rules.fn,
  operation: rules.either(rules.name, rules.fn),
  required: rules.flag,
  methods: rules.custom("a list of HTTP methods", isFilledListOfNames),
  header: rules.custom("a header name or a list of them", (value) => isHeaderName(value) || isFilledListOfNames(value)),
  strictKey: rules.flag,
  fingerprint: rules.either(
    rules.custom("false", (value) => value === false),
    rules.fn,
  ),
  record: rules.either(rules.oneOf("success", "deterministic", "all"), rules.fn),
  replayHeader: rules.custom("a header name", isHeaderName),
  excludeHeaders: rules.custom("a list of header names", isListOfNames),
  setCookie: rules.oneOf("drop", "replay"),
  maxBodyBytes: rules.byteCount,
  maxRequestBytes: rules.byteCount,
  abandonAfterMs: rules.durationMs,
  onProblem: rules.fn,
};

/** What the headers of a kept response may take beside its body. */
const MOST_HEADER_BYTES = 262_144;

/**
 * Holds options against their rules and fills the defaults in.
 * @throws EvenkeelError `INVALID_OPTIONS`, with the name of the option and what it must be.
 */
export function httpSettings<Request>(owner: string, options: HttpOptions<Request>): HttpSettings<Request> {
  acceptOptions(owner, HTTP_RULES, options);
  for (const name of ["store", "scope"] as const) {
    if (options[name] === undefined) throw invalidOptions(owner, `${name} must be ${HTTP_RULES[name]?.says}`);
  }
  const { onAbandoned, maxBodyBytes = 1_048_576, replayHeader = "Idempotent-Replayed" } = options;
  const execution = executionSettings<HttpOutcome>({
    ...options,
    onAbandoned: typeof onAbandoned === "function" ? asOutcome(onAbandoned) : (onAbandoned ?? "takeover"),
    maxResultBytes: maxBodyBytes + MOST_HEADER_BYTES,
    codec: responseCodec(options.codec ?? taggedJson),
  });
  // Whatever `run` throws is about a response that is not to be kept.
  const onError: ErrorDisposition = "release";
  return Object.freeze({
    scope: options.scope,
    operation: options.operation,
    required: options.required ?? false,
    methods: new Set((options.methods ?? ["POST", "PATCH"]).map((method) => method.toUpperCase())),
    header: [options.header ?? ["Idempotency-Key", "X-Idempotency-Key"]].flat().map((name) => name.toLowerCase()),
    strictKey: options.strictKey ?? false,
    fingerprint: options.fingerprint,
    record: recordPolicy(options.record ?? "success"),
    recordsErrors: options.record === "all",
    replayHeader: replayHeader.toLowerCase(),
    replayHeaderName: replayHeader,
    excludeHeaders: new Set((options.excludeHeaders ?? []).map((name) => name.toLowerCase())),
    setCookie: options.setCookie ?? "drop",
    maxBodyBytes,
    maxRequestBytes: options.maxRequestBytes ?? 10_485_760,
    abandonAfterMs: options.abandonAfterMs ?? 30_000,
    onProblem: options.onProblem,
    execution: Object.freeze({ ...execution, onError }),
  });
}

type Resolver<O> = (record: AbandonedExecution) => AbandonedDecision<O> | Promise<AbandonedDecision<O>>;

function asOutcome(resolver: Resolver<CompletedResponse>): Resolver<HttpOutcome> {
  return async (record) => {
    const decision = await resolver(record);
    if (typeof decision !== "object" || decision === null) return decision;
    return { completed: responseOf(decision.completed) };
  };
}

/** Statuses that say "not you" or "not now": the same request may be answered otherwise, with nothing changed. */
const NOT_DETERMINISTIC: ReadonlySet<number> = new Set([401, 403, 407, 408, 409, 423, 425, 429]);

function recordPolicy(record: NonNullable<HttpOptions<never>["record"]>): HttpSettings<never>["record"] {
  const decide = (store: boolean): RecordDecision => (store ? "store" : "release");
  switch (record) {
    case "success":
      return ({ status }) => decide(status < 400);
    case "deterministic":
      return ({ status }) => decide(status < 500 && !NOT_DETERMINISTIC.has(status));
    case "all":
      return () => "store";
  }
  return (response) => {
    try {
      return record(response.status, response) === "release" ? "release" : "store";
    } catch {
      // The effect may have happened: keeping the answer is the side on which nothing runs twice.
      return "store";
    }
  };
}
