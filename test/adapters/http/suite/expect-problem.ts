import { expect } from "vitest";
import { type Answer, problem } from "../http-client.ts";

/** Rule 5: the shape of every answer of the layer. Gives the document. */
export function expectProblem(
  answer: Answer,
  status: number,
  code: string,
  retryable: boolean,
): Record<string, unknown> {
  const document = problem(answer);
  expect([answer.status, document["code"]]).toEqual([status, code]);
  expect(answer.headers["content-type"]).toBe("application/problem+json");
  expect(answer.headers["idempotent-replayed"]).toBeUndefined();
  expect(document).toEqual({
    type: `urn:evenkeel:problem:${code.toLowerCase().replaceAll("_", "-")}`,
    title: expect.any(String),
    status,
    detail: expect.any(String),
    code,
    retryable,
    ...(answer.headers["retry-after"] === undefined ? {} : { retryAfterMs: expect.any(Number) }),
  });
  expect(answer.headers["retry-after"] !== undefined).toBe(retryable);
  return document;
}
