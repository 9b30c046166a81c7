import type { FastifyReply, FastifyRequest } from "fastify";
import { type HttpBody, type HttpPolicy, readAhead } from "../../src/idempotency/http.ts";
import { parsedBody } from "./parsed-body.ts";

/** Has the bytes of a body read before its parsers, which hide differences. Calls back unless the client leaves. */
export function keepBytes(
  { settings }: HttpPolicy<FastifyRequest>,
  { raw }: FastifyRequest,
  reply: FastifyReply,
  done: () => void,
): void {
  // Not asked for.
  if (settings.fingerprint !== undefined) return done();
  readAhead(raw, reply.raw, settings.maxRequestBytes).then(
    () => done(),
    () => void reply.hijack(),
  );
}

/** What parsers have left. A request's `file` and `files` are methods of `@fastify/multipart`. */
export function bodyOf({ body, rawBody }: FastifyRequest & { readonly rawBody?: unknown }): HttpBody {
  return parsedBody({ body, rawBody });
}
