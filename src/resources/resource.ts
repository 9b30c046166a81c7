import type { ResourceState } from "../store.ts";

/** A resource that is wanted to exist. */
export interface DesiredResource<Spec = unknown> {
  /** Its name within the group: a well-formed text of 1 to 255 characters without control characters. */
  readonly id: string;
  /** What it is to be like: data that tagged JSON can say. Compared by value, whatever the order of its keys. */
  readonly spec?: Spec | undefined;
  /** Which of several surplus resources goes first: the lowest. Defaults to 0. */
  readonly deletionCost?: number | undefined;
}

/**
 * One incarnation of a resource as the ledger knows it. All `…At` are epoch milliseconds by the store's clock.
 */
export interface ResourceRecord<Spec = unknown> {
  readonly group: string;
  readonly id: string;
  /** Rises with each replacement. */
  readonly incarnation: number;
  readonly state: ResourceState;
  readonly spec?: Spec;
  /** What `create` said that the outside world calls it. */
  readonly externalId?: string;
  /** The generation of the desired state that the spec is of. */
  readonly generation: number;
  readonly createdAt: number;
  readonly provisionedAt?: number;
  readonly lastHeartbeatAt?: number;
  readonly terminatedAt?: number;
  /** Why it is in its state, as one word (`HeartbeatStale`, `Surplus`, …). */
  readonly reason?: string;
  /** Of the last action on it; rises strictly within the group. */
  readonly fencingToken: number;
  /** One more with each write. */
  readonly version: number;
}

/** What a callback that acts on a resource is handed. */
export interface ActionContext {
  /** The same on every attempt of the same action on the same incarnation: give it to the API that is called. */
  readonly idempotencyKey: string;
  /** Rises with every action on the resource: a target that remembers the highest one by resource can refuse a stale caller. */
  readonly fencingToken: number;
  /** 1, 2 when the action is tried again. */
  readonly attempt: number;
  /** Aborted when the time is up, the lease or the leadership is lost, or the reconciler stops. */
  readonly signal: AbortSignal;
}

/** What `create` may return. */
export interface CreateResult {
  /** What the outside world calls the resource. */
  readonly externalId?: string | undefined;
}
