/**
 * The one policy of all HTTP shims. A shim translates between its framework and this file, and decides nothing.
 *
 * - `createHttpPolicy` binds the rules to options: which requests are the layer's business, who runs, what is kept, what a
 *   retry gets.
 * - `serveNode` carries them out on a `node:http` request and response, `serveWeb` on the Fetch standard's.
 */
export * from "./http-face.ts";
export type { HttpBody, UploadedFile } from "./http-fingerprint.ts";
export {
  type Admission,
  type CapturedResponse,
  createHttpPolicy,
  type HandlerRun,
  type HttpExchange,
  type HttpPolicy,
  type HttpVerdict,
  RequestTooLarge,
} from "./http-policy.ts";
export { nodeBody, readAhead } from "./node-body.ts";
export { type NodeExchange, type NodeHandler, serveNode } from "./node-exchange.ts";
export type { HeaderLines } from "./node-head.ts";
export type { OutgoingResponse } from "./outgoing-response.ts";
export { serveWeb, type WebExchange, type WebHandler } from "./web-exchange.ts";
