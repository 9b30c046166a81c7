import type { AcquiredClaim } from "./store.ts";

const grants = new WeakMap<object, AcquiredClaim>();

/**
 * The error of a claim that was granted, though not as durably as was asked for: nobody may run under it, and who asked can undo
 * it, which needs its token.
 */
export function ofGrant<E extends Error>(error: E, grant: AcquiredClaim): E {
  grants.set(error, grant);
  return error;
}

/** What was granted nevertheless. */
export function grantOf(error: unknown): AcquiredClaim | undefined {
  return typeof error === "object" && error !== null ? grants.get(error) : undefined;
}
