import { STATUS_CODES } from "node:http";
import { isEvenkeelError } from "evenkeel";
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest, FastifyServerOptions } from "fastify";

/** A field of a request, and what is wrong with it. */
export interface FieldError {
  readonly field: string;
  readonly message: string;
}

/** A refusal, as a problem document (RFC 9457). Thrown by handlers. */
export class Refusal extends Error {
  readonly status: number;
  readonly errors: readonly FieldError[];

  constructor(status: number, detail: string, errors: readonly FieldError[] = []) {
    super(detail);
    this.status = status;
    this.errors = errors;
  }
}

/**
 * A ledger's write of what a request says. What the ledger can't keep of that is told of the field: specs that are nested too deeply,
 * for one.
 */
export async function naming<T>(field: string, written: Promise<T>): Promise<T> {
  try {
    return await written;
  } catch (error) {
    if (!isEvenkeelError(error) || error.code !== "INVALID_OPTIONS") throw error;
    throw new Refusal(400, "The ledger can't keep what the request says.", [{ field, message: error.message }]);
  }
}

/**
 * What the server has to be made with, so that paths that lead nowhere, and what is no request at all, are answered with problem
 * documents, too.
 */
export const frameworkProblems: Pick<FastifyServerOptions, "frameworkErrors" | "routerOptions" | "clientErrorHandler"> =
  {
    // Longer than a path can be: what is too long for an id is told like all else that is no id.
    routerOptions: { maxParamLength: 2 ** 16 },
    frameworkErrors: ({ statusCode = 500, message }, _request, reply) => send(reply, new Refusal(statusCode, message)),
    clientErrorHandler({ code }, socket) {
      const [status, detail] = UNREADABLE[code] ?? [400, "This is no HTTP request."];
      const problem = problemOf(new Refusal(status, detail));
      const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: ${PROBLEM}\r\nConnection: close\r\n`;
      // Whoever has broken the connection hears nothing any more.
      if (socket.writable && code !== "ECONNRESET")
        socket.write(`${head}Content-Length: ${Buffer.byteLength(problem)}\r\n\r\n${problem}`);
      socket.destroySoon();
    },
  };

/** What Node's parser says of what it refuses, as statuses. */
const UNREADABLE: Readonly<Record<string, readonly [status: number, detail: string]>> = {
  HPE_HEADER_OVERFLOW: [431, "The path or the headers are too long."],
  ERR_HTTP_REQUEST_TIMEOUT: [408, "The request did not come in time."],
};

const PROBLEM = "application/problem+json";

/** Makes problem documents of all that goes wrong with requests. Those of the idempotency layer are its own. */
export function answerWithProblems(app: FastifyInstance): void {
  app.setErrorHandler(async (error: FastifyError, request, reply) => {
    const refusal = refusalOf(error);
    if (refusal.status === 503) {
      console.error(`${request.method} ${request.url}: ${error.message}`);
      reply.header("Retry-After", "1");
    } else if (refusal.status >= 500) {
      console.error(`${request.method} ${request.url}: ${error.stack}`);
    }
    return send(reply, refusal);
  });
  app.setNotFoundHandler(async (request: FastifyRequest, reply) =>
    send(reply, new Refusal(404, `There is no ${request.method} ${request.url.split("?")[0]}.`)),
  );
}

function send(reply: FastifyReply, refusal: Refusal): FastifyReply {
  return reply.code(refusal.status).type(PROBLEM).send(problemOf(refusal));
}

function problemOf({ status, message, errors }: Refusal): string {
  const problem = { type: "about:blank", title: STATUS_CODES[status], status, detail: message };
  return JSON.stringify({ ...problem, ...(errors.length > 0 ? { errors } : {}) });
}

function refusalOf(error: FastifyError): Refusal {
  if (error instanceof Refusal) return error;
  if (error.validation) {
    const errors = error.validation.flatMap((invalid) => fieldErrorOf(invalid, error.validationContext ?? "body"));
    return new Refusal(400, "The request does not say what it has to.", errors);
  }
  if (isEvenkeelError(error)) {
    return error.retryable || error.code === "FENCED"
      ? new Refusal(503, "The ledger can't be reached at this moment.")
      : new Refusal(500, "The ledger can't be used.");
  }
  const { statusCode = 500 } = error;
  if (statusCode >= 500) return new Refusal(statusCode, "This could not be done.");
  const message = error.code === "FST_ERR_CTP_INVALID_JSON_BODY" ? NO_JSON : error.message;
  return new Refusal(statusCode, message, [{ field: "body", message }]);
}

/** Fastify says the same of both. */
const NO_JSON = "The body is no JSON, or has a field that is called __proto__ or constructor.prototype.";

type Invalid = NonNullable<FastifyError["validation"]>[number];

/** What a JSON schema finds, by the name of the field that it is about. */
function fieldErrorOf({ keyword, instancePath, params, message = "is wrong" }: Invalid, whole: string): FieldError[] {
  const path = instancePath.slice(1).split("/").filter(Boolean);
  const inside = (name: unknown): string => [...path, name].join(".");
  switch (keyword) {
    // Its alternatives are listed one by one.
    case "anyOf":
      return [];
    case "required":
      return [{ field: inside(params["missingProperty"]), message: "is missing" }];
    case "additionalProperties":
      return [{ field: inside(params["additionalProperty"]), message: "is not known here" }];
    default:
      return [{ field: path.join(".") || whole, message }];
  }
}
