import type { ExecutionCall } from "./execution-call.ts";
import type { ExecutionContext } from "./execution-context.ts";
import { derivedKey } from "./key.ts";

/** The context of a run without a claim (`onStoreError: "open"`): nothing is remembered, and no token is granted. */
export function unprotectedContext<O>(call: ExecutionCall<O>, id: string): ExecutionContext {
  const { operation, scope, key } = call;
  return {
    operation,
    scope,
    key,
    attempt: 1,
    fencingToken: 0,
    signal: call.signal ?? new AbortController().signal,
    step: async (_name, fn) => fn(),
    deriveKey: (label) => derivedKey(id, label),
    // There is nothing to complete, and the user chose to be served all the same.
    complete: async () => {},
  };
}
