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

/** What the server has to be made with, so that paths that lead nowhere are answered with problem documents, too. */
export const frameworkProblems: Pick<FastifyServerOptions, "frameworkErrors" | "routerOptions"> = {
  // Longer than a path can be: what is too long for an id is told like all else that is no id.
  routerOptions: { maxParamLength: 2 ** 16 },
  frameworkErrors: ({ statusCode = 500, message }, _request, reply) => send(reply, new Refusal(statusCode, message)),
};

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

function send(reply: FastifyReply, { status, message, errors }: Refusal): FastifyReply {
  const title = STATUS_CODES[status];
  const problem = { type: "about:blank", title, status, detail: message, ...(errors.length > 0 ? { errors } : {}) };
  return reply.code(status).type("application/problem+json").send(JSON.stringify(problem));
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
  return new Refusal(statusCode, error.message, [{ field: "body", message: error.message }]);
}

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
