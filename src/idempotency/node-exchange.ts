import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Timer } from "../clock.ts";
import type { ExecutionContext } from "./execution-context.ts";
import type { HttpBody } from "./http-fingerprint.ts";
import { isBodiless } from "./http-headers.ts";
import type { HandlerRun, HttpPolicy, HttpVerdict } from "./http-policy.ts";
import { dropUnread, holdBody, nodeBody } from "./node-body.ts";
import { NodeCapture } from "./node-capture.ts";
import { isClientGone, isClosedByServer, watchConnection } from "./node-client.ts";
import { type HeaderLines, headerLines } from "./node-head.ts";
import type { OutgoingResponse } from "./outgoing-response.ts";

/** What a shim over `node:http` tells of its framework. */
export interface NodeExchange<Request> {
  /** What `scope`, `operation` and `onProblem` are given. */
  readonly request: Request;
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** Path and query as the client sent them, mounts and prefixes included. */
  readonly url: string;
  /** The pattern that the path fits, where it is known by now. */
  readonly route?: string | undefined;
  /** What parsers that ran before have made of the body. */
  parsedBody(): HttpBody;
  /** The headers that outer layers have set, where the framework keeps them until the end. Defaults to the response's. */
  outerHeaders?(): HeaderLines;
  /** Lets the request through as if the layer weren't there. */
  pass(): void;
  /** Runs the handler under a claim. */
  run(context: ExecutionContext, handler: NodeHandler): void;
  /** Keeps the framework from answering: the layer is about to, or nobody is there any more. */
  takeOver?(): void;
  /**
   * Sends an answer of the layer, to be called when outer layers have had their say: until then they may set headers.
   * Defaults to sending it at once.
   */
  sendLast?(status: number, send: () => void): void;
  /** Gives an error of the user's own code to the framework. */
  fail(error: unknown): void;
}

/** What a shim tells of the handler that it runs. */
export interface NodeHandler {
  /** It has the framework send something as a stream that will come later. */
  streams(): void;
  /** It has thrown: what is answered from now on is the framework's. */
  threw(): void;
  /** It has returned, and its answer is still to be sent: headers that are set from now on are an outer layer's. */
  returned(): void;
}

/** Serves one request under a policy. */
export function serveNode<Request>(policy: HttpPolicy<Request>, node: NodeExchange<Request>): void {
  const { req, request } = node;
  const admission = policy.admit({ request, method: methodOf(req), rawHeaders: req.rawHeaders });
  switch (admission.kind) {
    case "pass":
      return node.pass();
    case "refused":
      return sendInstead(node, admission.response);
    case "keyed":
      serveKeyed(policy, node, admission.key).catch(node.fail);
  }
}

async function serveKeyed<Request>(policy: HttpPolicy<Request>, node: NodeExchange<Request>, key: string) {
  const { settings } = policy;
  const { req, res, request, url } = node;
  const left = new AbortController();
  const abandoned = new AbortController();
  let capture: NodeCapture | undefined;
  let abandonTimer: Timer | undefined;
  let isGone = false;
  /** Whether the connection is to be destroyed once the answer is out. */
  let isDestroyed = false;

  function onClose(): void {
    // Of the response and of its connection, or of the connection alone where the response never got it.
    if (isGone) return;
    isGone = true;
    if (capture === undefined) return left.abort();
    if (capture.ended) return;
    // An answer that was broken off here: nobody will end it.
    if (isClosedByServer(req, res) && capture.cutOff()) return;
    capture.clientLeft();
    const { clock } = settings.execution;
    abandonTimer = clock.setTimer(settings.abandonAfterMs, onAbandoned, { ref: false });
  }

  // Express destroys the connection when a handler fails after its head. The answer of one that has ended goes out first.
  function onDestroying(): boolean {
    if (capture === undefined) return false;
    if (isGone) capture.cutOff();
    isDestroyed ||= capture.ended && !isGone;
    return isDestroyed;
  }

  function onAbandoned(): void {
    if (!capture?.cutOff()) abandoned.abort();
  }

  async function answer({ context, onUnkept }: HandlerRun) {
    const before = node.outerHeaders?.() ?? headerLines(res);
    const capturing = new NodeCapture(res, { before, maxBodyBytes: settings.maxBodyBytes, onUnkept });
    capture = capturing;
    body.letGo();
    node.run(context, {
      streams: () => capturing.expectStream(),
      threw: () => capturing.threw(),
      returned: () => capturing.returned(),
    });
    const captured = await capturing.answer;
    abandonTimer?.clear();
    return captured;
  }

  const body = holdBody(req);
  // Nobody is there to take an answer, and nothing has run: the retry is the first request.
  if (isClientGone(req, res)) return node.takeOver?.();
  const unwatch = watchConnection(req.socket, { closed: onClose, destroying: onDestroying });
  res.once("close", onClose);
  res.once("finish", () => dropUnread(req));
  const verdict = await policy.handle(
    {
      request,
      method: methodOf(req),
      url,
      route: node.route,
      rawHeaders: req.rawHeaders,
      left: left.signal,
      abandoned: abandoned.signal,
      readBody: (maxBytes) => nodeBody(req, maxBytes, node.parsedBody),
      answer,
    },
    key,
  );
  abandonTimer?.clear();
  res.off("close", onClose);
  unwatch();
  body.letGo();
  if (isDestroyed) destroyAfter(res, req.socket);
  carryOut(verdict, node, capture);
}

function carryOut(
  verdict: HttpVerdict,
  node: Pick<NodeExchange<unknown>, "res" | "fail" | "takeOver" | "sendLast">,
  capture: NodeCapture | undefined,
): void {
  // What has begun to go out can't be taken back.
  if (verdict.kind === "own" || capture?.discard() === false) return capture?.release();
  switch (verdict.kind) {
    case "silence":
      return node.takeOver?.();
    case "error":
      return node.fail(verdict.error);
    case "send":
      if (capture === undefined) return sendInstead(node, verdict.response);
      node.takeOver?.();
      return send(node.res, verdict.response, capture);
  }
}

/** Sends an answer of the layer to a request whose handler has not run. */
function sendInstead(
  node: Pick<NodeExchange<unknown>, "res" | "takeOver" | "sendLast">,
  response: OutgoingResponse,
): void {
  node.takeOver?.();
  const sendIt = (): void => send(node.res, response);
  if (node.sendLast === undefined) sendIt();
  else node.sendLast(response.status, sendIt);
}

/** Destroys a connection once the answer is out. */
function destroyAfter(res: ServerResponse, socket: Socket): void {
  if (res.destroyed) return void socket.destroy();
  // So that the client doesn't send its next request on it.
  res.shouldKeepAlive = false;
  res.once("finish", () => socket.destroy());
}

/** Sends an answer of the layer, or a replay. What an outer layer has set for itself stays. */
function send(
  res: ServerResponse,
  { status, headers, outer, removed, body }: OutgoingResponse,
  capture?: NodeCapture,
): void {
  if (res.headersSent || res.destroyed) return;
  const lines = new Map<string, { name: string; values: string[] }>();
  for (const [name, value] of headers) {
    const lower = name.toLowerCase();
    const known = lines.get(lower);
    if (known !== undefined) known.values.push(value);
    else lines.set(lower, { name, values: [value] });
  }
  res.statusCode = status;
  for (const name of removed) res.removeHeader(name);
  for (const [lower, { name, values }] of lines) {
    if (lower === "set-cookie") res.appendHeader(name, values);
    else if (!outer.includes(lower) || !res.hasHeader(name)) {
      res.setHeader(name, values.length === 1 ? (values[0] ?? "") : values);
    }
  }
  if (!isBodiless(status) && res.req?.method !== "HEAD") res.setHeader("Content-Length", body.length);
  if (capture === undefined) res.end(body);
  else capture.end(body);
}

function methodOf(req: IncomingMessage): string {
  return req.method ?? "GET";
}
