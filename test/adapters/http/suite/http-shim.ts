import type { HttpOptions } from "../../../../adapters/http/express.ts";
import type { ExecutionContext } from "../../../../src/idempotency/http.ts";

/**
 * A framework with its shim, as the suite drives it: real servers whose routes are told in words that all frameworks know,
 * and lists of what can only be said in the framework's own.
 */
export interface HttpShim {
  /** "Express 5". */
  readonly name: string;
  /** Starts a server on a free port of loopback. */
  start(service: ServiceSpec): Promise<RunningServer>;
  /** A header of what the framework's `scope` is given. */
  header(request: never, name: string): string | undefined;
  /** Answers in every idiom of the framework. Each is compared with the same route without the layer. */
  readonly answers: readonly NativeCase[];
  /** Errors in every idiom of the framework: its answer must be the one that it gives without the layer. */
  readonly failures: readonly NativeCase[];
  /** What the framework does that the rules leave to it. */
  readonly traits: ShimTraits;
}

export interface ShimTraits {
  /** Whether the shim sees the framework's answer to a thrown error, so that `record: "all"` can keep it. */
  readonly keepsErrorAnswers: boolean;
  /** Whether header lines of one name stay lines, beside `Set-Cookie` (the Fetch standard joins them). */
  readonly keepsHeaderLines: boolean;
}

/** What it is, and a handler that the shim's own `start` understands. */
export type NativeCase = readonly [what: string, handler: NativeHandler];

/** A handler as the framework takes it; only the shim of the suite looks inside. */
// biome-ignore lint/suspicious/noExplicitAny: each framework has a type of its own.
export type NativeHandler = any;

export interface ServiceSpec {
  readonly routes: readonly RouteSpec[];
  /** What every layer of this service is given; a route may say otherwise. */
  readonly options: HttpOptions<never>;
  /** Stands before the layer: may refuse a request with a status, or set headers of the response. */
  readonly before?: (header: (name: string) => string | undefined) => {
    readonly refuse?: number;
    readonly headers?: Readonly<Record<string, string>>;
  };
  /** Where the framework's own compression middleware stands: around the layer, or between the layer and the handler. */
  readonly compression?: "around" | "within";
  /** Called with what reaches the framework's own place for errors. */
  readonly onError?: (error: unknown) => void;
}

export interface RouteSpec {
  readonly path: string;
  /** The prefix of the router that the route stands in. Defaults to none. */
  readonly mount?: string;
  /** Defaults to POST. */
  readonly method?: string;
  /** What this route's layer is told beside the service's options; false: no layer. */
  readonly layer?: Partial<HttpOptions<never>> | false;
  readonly handler: Handler | { readonly native: NativeHandler };
}

/** A handler in words that all frameworks know. */
export type Handler = (call: Call) => Reply | Promise<Reply>;

/** What a handler is given. */
export interface Call {
  readonly method: string;
  header(name: string): string | undefined;
  /** The bytes of the body as the handler finds them. */
  body(): Promise<Buffer>;
  readonly execution: ExecutionContext | undefined;
}

/** What a handler answers. The shim of the suite says it in the most usual words of its framework. */
export interface Reply {
  /** Defaults to 200. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** Sent by the framework's own JSON. */
  readonly json?: unknown;
  /** Text and bytes at once, or pieces as they come. */
  readonly body?: string | Uint8Array | AsyncIterable<string | Uint8Array>;
}

export interface RunningServer {
  readonly port: number;
  /** Resolves when every connection is closed: a response that never ends would show. */
  stop(): Promise<void>;
}
