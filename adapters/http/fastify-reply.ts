import { Readable } from "node:stream";
import type { ReadableStream as WebStream } from "node:stream/web";
import type { FastifyReply, FastifyRequest, onSendHookHandler } from "fastify";
import type { HeaderLines, NodeHandler } from "../../src/idempotency/http.ts";

/** The handlers that run under a claim. */
const running = new WeakMap<FastifyRequest, NodeHandler>();

/** Fastify has got an error for an answer. */
export function hasThrown(request: FastifyRequest): void {
  running.get(request)?.threw();
}

/** The headers that are set now. Fastify keeps them until it sends. */
export function headerLines(reply: FastifyReply): HeaderLines {
  return new Map(Object.entries(reply.getHeaders()).map(([name, value]) => [name, [value ?? []].flat().map(String)]));
}

/** Keeps Fastify from answering, and puts the headers that it was keeping where they are sent from. */
export function takeOver(reply: FastifyReply, headers: HeaderLines): void {
  if (!reply.raw.headersSent) {
    for (const [name, [line = "", ...more]] of headers) {
      reply.raw.setHeader(name, more.length === 0 ? line : [line, ...more]);
    }
  }
  reply.hijack();
}

/** Runs a handler, and returns what Fastify is to make of it. */
export async function runHandler(
  handle: () => unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  handler: NodeHandler,
): Promise<unknown> {
  running.set(request, handler);
  let isToCome = false;
  const { hijack, then } = reply;
  Object.assign(reply, {
    // What it sends by itself may pass the response by.
    hijack() {
      handler.streams();
      return hijack.call(reply);
    },
    // It is returned: the answer comes by itself.
    then(...callbacks: Parameters<typeof then>) {
      isToCome = true;
      return then.apply(reply, callbacks);
    },
  });
  const result = handle();
  // It will call `reply.send()`.
  if (result === undefined) return new Promise(() => {});
  const payload = await result;
  // Fastify makes no answer of nothing once the client has left; a retry has to get it.
  const isLeftOut = payload === undefined && (request.raw.aborted || request.socket.destroyed);
  if (isLeftOut && !isToCome && !reply.sent && !reply.raw.headersSent) reply.send(undefined);
  return payload;
}

/** Sends web streams as streams of Node: one that Fastify cancels, the client being gone, would look whole. */
export const sendAsNodeStream: onSendHookHandler<unknown> = (request, reply, payload, done) => {
  const response = payload instanceof Response && !payload.bodyUsed ? payload : undefined;
  const stream = response === undefined ? payload : response.body;
  if (!running.has(request) || !(stream instanceof ReadableStream) || stream.locked) return done(null, payload);
  if (response !== undefined) {
    reply.code(response.status);
    for (const [name, value] of response.headers) reply.header(name, value);
  }
  done(null, Readable.fromWeb(stream as WebStream));
};
