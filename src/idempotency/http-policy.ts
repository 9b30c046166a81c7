import { EvenkeelError, isEvenkeelError } from "../errors.ts";
import { recordCorrupt } from "../execution-record.ts";
import { rules } from "../option-rules.ts";
import { createExecutor } from "./execution.ts";
import type { ExecutionContext } from "./execution-context.ts";
import { acceptableTo } from "./http-encoding.ts";
import { fingerprintOfChosen, fingerprintOfRequest, type HttpBody, splitUrl } from "./http-fingerprint.ts";
import { type HeaderPair, keptHeaders } from "./http-headers.ts";
import { keyOfHeaders, valuesOf } from "./http-key.ts";
import { type HttpOptions, type HttpSettings, httpSettings, type RecordedResponse } from "./http-options.ts";
import { type HttpProblem, problemOf, requestTooLarge } from "./http-problem.ts";
import { type HttpOutcome, responseOf, StoredResponse, sameResponse, UNKEPT } from "./http-response.ts";
import { acceptScope } from "./key.ts";
import { type OutgoingResponse, problemResponse } from "./outgoing-response.ts";

/** What a handler answered, as a shim has captured it. */
export interface CapturedResponse extends RecordedResponse {
  /** Lower-case names of headers that an outer layer had set before the handler, which left them alone. */
  readonly outer: readonly string[];
  /** Lower-case names of headers that an outer layer had set before the handler, which took them away. */
  readonly removed: readonly string[];
  /** Whether the answer may only say that the client had left, so that what the handler had to send was not taken. */
  readonly isRefused: boolean;
  /** Whether it is the framework's answer to an error that the handler threw. */
  readonly isThrown: boolean;
}

/** What a shim tells of a request, and does for the policy. */
export interface HttpExchange<Request> {
  /** What `scope`, `operation` and `onProblem` are given. */
  readonly request: Request;
  readonly method: string;
  /** Path and query as the client sent them, mounts and prefixes included. */
  readonly url: string;
  /** The pattern that the path fits, such as `/orders/:id`, where the framework knows it by now. */
  readonly route?: string | undefined;
  /** Name, value, name, value, as they came. */
  readonly rawHeaders: readonly string[];
  /** Aborts when the client leaves before the handler has begun. */
  readonly left: AbortSignal;
  /** Aborts when the client has been gone for `abandonAfterMs` and there is no answer yet. */
  readonly abandoned: AbortSignal;
  /** @throws RequestTooLarge over `maxBytes`. Rejects with anything else when the body can't be read. */
  readBody(maxBytes: number): Promise<HttpBody>;
  /** Runs the handler, once, and resolves when its answer is complete but has not ended for the client. */
  answer(run: HandlerRun): Promise<CapturedResponse>;
}

/** What a handler's run gets. */
export interface HandlerRun {
  readonly context: ExecutionContext;
  /** To be called when it turns out that the response can't be kept, while it still goes on. */
  onUnkept(response: CapturedResponse): void;
}

/** Thrown by {@link HttpExchange.readBody}. */
export class RequestTooLarge extends Error {}

/** What a shim has to do. */
export type HttpVerdict =
  /** Let the handler's own answer out. */
  | { readonly kind: "own" }
  /** Send this: a replay, or an answer of the layer. The handler's own, if there is any, is dropped. */
  | { readonly kind: "send"; readonly response: OutgoingResponse }
  /** Nobody is there any more. */
  | { readonly kind: "silence" }
  /** Give it to the framework's error handler: it is the user's own. */
  | { readonly kind: "error"; readonly error: unknown };

/** Whether a request is the layer's business at all; decided without any store access. */
export type Admission =
  | { readonly kind: "pass" }
  | { readonly kind: "keyed"; readonly key: string }
  | { readonly kind: "refused"; readonly response: OutgoingResponse };

/** The rules of every shim, bound to one set of options. */
export interface HttpPolicy<Request> {
  readonly settings: HttpSettings<Request>;
  admit(exchange: Pick<HttpExchange<Request>, "request" | "method" | "rawHeaders">): Admission;
  /** Never rejects. */
  handle(exchange: HttpExchange<Request>, key: string): Promise<HttpVerdict>;
}

/** Thrown out of an execution whose response is not to be kept, so that the key is released. */
const NOT_KEPT = Symbol("evenkeel.notKept");

/** @throws EvenkeelError `INVALID_OPTIONS`, in the name of `owner`. */
export function createHttpPolicy<Request>(owner: string, options: HttpOptions<Request>): HttpPolicy<Request> {
  const settings = httpSettings(owner, options);
  const executor = createExecutor<HttpOutcome>(settings.execution);

  function admit({ request, method, rawHeaders }: Parameters<HttpPolicy<Request>["admit"]>[0]): Admission {
    if (!settings.methods.has(method)) return { kind: "pass" };
    try {
      const key = keyOfHeaders(rawHeaders, settings);
      if (key !== undefined) return { kind: "keyed", key };
      if (!settings.required) return { kind: "pass" };
      throw new EvenkeelError("KEY_MISSING", "No idempotency key.");
    } catch (error) {
      return { kind: "refused", response: refusal(problemOf(error as EvenkeelError), request) };
    }
  }

  async function handle(exchange: HttpExchange<Request>, key: string): Promise<HttpVerdict> {
    let ran = false;
    let answered: HttpOutcome = UNKEPT;

    async function run(context: ExecutionContext): Promise<HttpOutcome> {
      ran = true;
      const captured = await own(() =>
        exchange.answer({
          context: httpContext(context),
          onUnkept(response) {
            // Durable before the stream goes on: its effect has happened, however the stream ends.
            if (settings.record(recorded(response)) === "store") context.complete(UNKEPT).catch(() => {});
          },
        }),
      );
      if (!captured.isRefused && isReleased(captured)) throw NOT_KEPT;
      answered = asOutcome(captured, exchange.method);
      return answered;
    }

    try {
      const identity = await identify(exchange, key);
      const { value, replayed } = await executor.execute({
        ...identity,
        signal: exchange.left,
        stopRenewing: exchange.abandoned,
        run,
      });
      if (ran && !replayed && isSame(value, answered)) return { kind: "own" };
      return { kind: "send", response: await replayOf(value, exchange, replayed) };
    } catch (error) {
      if (error === NOT_KEPT) return { kind: "own" };
      if (exchange.left.aborted && !ran) return { kind: "silence" };
      if (error instanceof RequestTooLarge) return problem(requestTooLarge(), exchange.request);
      if (error instanceof OwnError) return { kind: "error", error: error.cause };
      if (isEvenkeelError(error)) return problem(problemOf(error), exchange.request);
      // An error that somebody stored for the record, as an operator can. The handler has answered, so it can't be thrown any more.
      if (ran) return problem(problemOf(recordCorrupt("its outcome is no response")), exchange.request);
      return { kind: "error", error };
    }
  }

  function isReleased(captured: CapturedResponse): boolean {
    return (captured.isThrown && !settings.recordsErrors) || settings.record(recorded(captured)) === "release";
  }

  async function identify(exchange: HttpExchange<Request>, key: string) {
    const { request, method, url, route = "*" } = exchange;
    const scope = scopeOf(await own(() => settings.scope(request)));
    const { operation = `${method} ${splitUrl(url).path}` } = settings;
    return {
      ...(settings.operation === undefined ? { operationLabel: `${method} ${route}` } : {}),
      operation: typeof operation === "string" ? operation : nameOf(await own(() => operation(request))),
      scope,
      key,
      fingerprint: await fingerprint(exchange),
    };
  }

  async function fingerprint(exchange: HttpExchange<Request>): Promise<string> {
    const { request, method, url, rawHeaders } = exchange;
    const { fingerprint: choose, maxRequestBytes } = settings;
    if (choose === false) return fingerprintOfChosen(method, url, undefined);
    if (choose !== undefined) return fingerprintOfChosen(method, url, await own(() => choose(request)));
    const body = await exchange.readBody(maxRequestBytes);
    const [contentType] = valuesOf(rawHeaders, "content-type");
    const contentEncoding = valuesOf(rawHeaders, "content-encoding").join(",");
    return fingerprintOfRequest({ method, url, contentType, contentEncoding, body });
  }

  function asOutcome(captured: CapturedResponse, method: string): HttpOutcome {
    const { status, headers, outer, removed, body, isRefused } = captured;
    if (body === undefined || isRefused) return UNKEPT;
    const removable = removed.map((name): HeaderPair => [name, ""]);
    const gone = keptHeaders(removable, settings).map(([name]) => name);
    return new StoredResponse(status, endToEnd(headers, method), outer, body, gone);
  }

  async function replayOf(
    value: unknown,
    { method, rawHeaders }: HttpExchange<Request>,
    replayed: boolean,
  ): Promise<OutgoingResponse> {
    if (!(value instanceof StoredResponse)) throw recordCorrupt("its outcome is no response");
    const accepted = valuesOf(rawHeaders, "accept-encoding");
    const response = await acceptableTo(accepted.length === 0 ? undefined : accepted.join(","), value);
    const mark: HeaderPair[] = replayed ? [[settings.replayHeaderName, "true"]] : [];
    const { status, outer, removed, body } = response;
    return { status, headers: [...endToEnd(response.headers, method), ...mark], outer, removed, body };
  }

  function endToEnd(headers: readonly HeaderPair[], method: string): HeaderPair[] {
    const kept = keptHeaders(headers, settings);
    if (method !== "HEAD") return kept;
    // The answer to HEAD has no body to compute it from.
    return [...kept, ...headers.filter(([name]) => name.toLowerCase() === "content-length")];
  }

  function problem(document: HttpProblem, request: Request): HttpVerdict {
    return { kind: "send", response: refusal(document, request) };
  }

  function refusal(document: HttpProblem, request: Request): OutgoingResponse {
    return problemResponse(document, (given) => settings.onProblem?.(given, request));
  }

  return { settings, admit, handle };
}

/** What a `record` function sees of it. */
function recorded({ status, headers, body }: CapturedResponse): RecordedResponse {
  return { status, headers, body };
}

/** What a function of the user's threw: never to be taken for an error of the layer, even if it is of the same class. */
class OwnError extends Error {}

async function own<T>(ask: () => T | Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (cause) {
    throw new OwnError("", { cause });
  }
}

/** A wrong scope is the server's fault, not the client's. */
function scopeOf(scope: unknown): string {
  try {
    return acceptScope(scope);
  } catch (cause) {
    throw new EvenkeelError("INVALID_OPTIONS", `scope: ${(cause as Error).message}`, { cause });
  }
}

function nameOf(operation: unknown): string {
  if (rules.name.test(operation)) return operation as string;
  throw new EvenkeelError("INVALID_OPTIONS", `operation must be ${rules.name.says}.`);
}

/** Whether the outcome that stands is what the handler answered, and not what it completed with before. */
function isSame(value: HttpOutcome, answered: HttpOutcome): boolean {
  if (value === UNKEPT) return true;
  return answered !== UNKEPT && sameResponse(value, answered);
}

/** The context as a handler gets it: what it completes with is a response. */
function httpContext(context: ExecutionContext): ExecutionContext {
  return {
    operation: context.operation,
    scope: context.scope,
    key: context.key,
    attempt: context.attempt,
    fencingToken: context.fencingToken,
    get signal() {
      return context.signal;
    },
    step: (name, fn) => context.step(name, fn),
    deriveKey: (label) => context.deriveKey(label),
    // Not an async function: inside a synchronous transaction a stale completion has to throw before the commit.
    complete: (value, ...tx) => context.complete(responseOf(value), ...tx),
  };
}
