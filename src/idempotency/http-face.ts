/**
 * What every HTTP shim exports beside its own function.
 */
export type { ExecutionContext } from "./execution-context.ts";
export type { HeaderPair } from "./http-headers.ts";
export {
  type OpenApiFragment,
  type OpenApiHeader,
  type OpenApiParameter,
  type OpenApiResponse,
  type OpenApiSchema,
  openApiFragment,
} from "./http-openapi.ts";
export type { HttpOptions, RecordDecision, RecordedResponse } from "./http-options.ts";
export type { HttpProblem, HttpProblemCode } from "./http-problem.ts";
export type { CompletedResponse } from "./http-response.ts";
