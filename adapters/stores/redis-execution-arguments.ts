import type { ClaimRequest, ListExecutionsRequest, ReleaseRequest } from "../../src/store.ts";
import type { RedisKeys } from "./redis-keys.ts";

/** Of `CLAIM`. */
export function claimArguments(request: ClaimRequest, storeKeys: boolean): string[] {
  const { nonce, leaseMs, retentionMs, onAbandoned, operation, scope, key, fingerprint } = request;
  const known = [storeKeys ? optional(key) : "", optional(fingerprint)];
  return [nonce, String(leaseMs), String(retentionMs), onAbandoned, operation, scope, ...known];
}

/** Of `RELEASE`. */
export function releaseArguments({ id, token, nonce, as }: ReleaseRequest, keys: RedisKeys): string[] {
  const holder = [String(token), nonce, as.mode];
  if (as.mode === "forget") return [...holder, "", "", "", keys.channel(id)];
  const leaseExpiredAt = as.mode === "abandon" ? as.leaseExpiredAt : undefined;
  const since = optional(leaseExpiredAt === undefined ? undefined : String(leaseExpiredAt));
  return [...holder, String(as.attempt), String(as.retentionMs), since, keys.channel(id)];
}

/** Of `LIST`. */
export function listArguments({ operation, status, after = "" }: ListExecutionsRequest, limit: number): string[] {
  return [after, String(limit), optional(operation), status ?? ""];
}

/** Told apart from a text that is empty. */
export function optional(value: string | undefined): string {
  return value === undefined ? "" : `=${value}`;
}
