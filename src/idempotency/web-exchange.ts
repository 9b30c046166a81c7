import { onAbort } from "../abort-listeners.ts";
import type { Timer } from "../clock.ts";
import { recordCorrupt } from "../execution-record.ts";
import type { ExecutionContext } from "./execution-context.ts";
import type { HttpBody } from "./http-fingerprint.ts";
import type { HandlerRun, HttpPolicy } from "./http-policy.ts";
import { problemOf } from "./http-problem.ts";
import { type OutgoingResponse, problemResponse } from "./outgoing-response.ts";
import { webBody } from "./web-body.ts";
import { WebCapture } from "./web-capture.ts";
import { isWebStatus, webResponse } from "./web-head.ts";

/** What a shim over the Fetch standard's `Request` and `Response` tells of its framework. */
export interface WebExchange<Subject> {
  /** What `scope`, `operation` and `onProblem` are given. */
  readonly subject: Subject;
  readonly request: Request;
  /** What is left of a body that was read before. Defaults to nothing. */
  usedBody?(): Promise<HttpBody>;
  /** The headers that outer layers have set, where the framework keeps them until the end. Defaults to none. */
  outerHeaders?(): Headers;
  /** Lets the request through as if the layer weren't there. */
  pass(): Response | Promise<Response>;
  /** Runs the handler under a claim. */
  run(context: ExecutionContext, handler: WebHandler): Response | Promise<Response>;
}

/** What a shim tells of the handler that it runs. */
export interface WebHandler {
  /** It has thrown: its answer is the framework's. */
  threw(): void;
  /** It has answered past its `Response`. */
  answeredUnseen(): void;
}

/** The client has closed the request, by a custom of proxies. Nobody is there to see it but a log. */
const CLIENT_CLOSED_REQUEST = 499;

/**
 * Serves one request under a policy. Rejects with what the user's own code has thrown, unchanged.
 * @param web - the request and its handler.
 */
export async function serveWeb<Subject>(policy: HttpPolicy<Subject>, web: WebExchange<Subject>): Promise<Response> {
  const { subject, request } = web;
  const { method } = request;
  const admission = policy.admit({ request: subject, method, rawHeaders: keyHeaders(policy, request) });
  switch (admission.kind) {
    case "pass":
      return web.pass();
    case "refused":
      return webResponse(admission.response, method, web.outerHeaders?.() ?? new Headers());
    case "keyed":
      return new Promise((resolve, reject) => {
        // An answer that has to go out before it is complete is not waited for.
        serveKeyed(policy, web, admission.key, resolve).then(resolve, reject);
      });
  }
}

async function serveKeyed<Subject>(
  policy: HttpPolicy<Subject>,
  web: WebExchange<Subject>,
  key: string,
  onBegun: (response: Response) => void,
): Promise<Response> {
  const { settings } = policy;
  const { subject, request } = web;
  const { method, url, signal } = request;
  const { clock } = settings.execution;
  const left = new AbortController();
  const abandoned = new AbortController();
  const before = web.outerHeaders?.() ?? new Headers();
  let isRunning = false;
  let capture: WebCapture | undefined;
  let abandonTimer: Timer | undefined;

  function onGone(): void {
    if (!isRunning) return left.abort();
    abandonTimer ??= clock.setTimer(settings.abandonAfterMs, onAbandoned, { ref: false });
  }

  function onAbandoned(): void {
    if (capture === undefined) abandoned.abort();
    else capture.cutOff();
  }

  async function answer({ context, onUnkept }: HandlerRun) {
    isRunning = true;
    let isThrown = false;
    let isUnseen = false;
    const response: unknown = await web.run(context, {
      threw() {
        isThrown = true;
      },
      answeredUnseen() {
        isUnseen = true;
      },
    });
    const { maxBodyBytes, abandonAfterMs } = settings;
    capture = new WebCapture(acceptResponse(response), {
      method,
      before,
      maxBodyBytes,
      clock,
      abandonAfterMs,
      isThrown,
      isUnseen,
      onUnkept,
      onBegun,
      onCancelled: onGone,
    });
    if (signal.aborted) capture.clientLeft();
    const captured = await capture.answer;
    stopListening();
    abandonTimer?.clear();
    return captured;
  }

  // Nobody is there to take an answer, and nothing has run: the retry is the first request.
  if (signal.aborted) return noResponse();
  const stopListening = onAbort(signal, () => {
    onGone();
    capture?.clientLeft();
  });
  const verdict = await policy.handle(
    {
      request: subject,
      method,
      url,
      rawHeaders: [...request.headers].flat(),
      left: left.signal,
      abandoned: abandoned.signal,
      readBody: (maxBytes) => webBody(request, maxBytes, () => web.usedBody?.() ?? Promise.resolve({ kind: "gone" })),
      answer,
    },
    key,
  );
  stopListening();
  abandonTimer?.clear();
  // What has begun to go out can't be taken back.
  if (capture?.begun) return capture.release();
  switch (verdict.kind) {
    case "own":
      return (capture as WebCapture).release();
    case "send":
      return webResponse(sendable(verdict.response, policy, subject), method, before);
    case "silence":
      return noResponse();
    case "error":
      throw verdict.error;
  }
}

/** Of the headers those alone that may hold the key: most requests are not the layer's business. */
function keyHeaders({ settings }: HttpPolicy<never>, { headers }: Request): string[] {
  return settings.header.flatMap((name) => {
    const value = headers.get(name);
    return value === null ? [] : [name, value];
  });
}

/** By what it has, since frameworks and runtimes bring a `Response` of their own. */
function acceptResponse(response: unknown): Response {
  const { status, headers } = (response ?? {}) as Partial<Response>;
  if (typeof status === "number" && typeof headers?.getSetCookie === "function") return response as Response;
  throw new TypeError("The handler must return a Response.");
}

/** A record of another kind of server may hold a status that no `Response` can have. */
function sendable<Subject>(
  response: OutgoingResponse,
  { settings }: HttpPolicy<Subject>,
  subject: Subject,
): OutgoingResponse {
  if (isWebStatus(response.status)) return response;
  const document = problemOf(recordCorrupt("its status can't be that of a Response"));
  return problemResponse(document, (given) => settings.onProblem?.(given, subject));
}

/** Nobody is there any more, and nothing ran. */
function noResponse(): Response {
  return new Response(null, { status: CLIENT_CLOSED_REQUEST });
}
