import type { DesiredResource } from "../resources/resource.ts";

/**
 * A resource as the outside world shows it. It belongs to the row that has its `externalId` or `incarnation`. One that has neither, or
 * whose row is not there, counts for the newest row of its id, as long as no other does.
 */
export interface ObservedResource {
  readonly id: string;
  /** What `create` returned for it. Tells incarnations of one id apart where `incarnation` is not known. */
  readonly externalId?: string | undefined;
  /** The incarnation that `create` was called for, where the resource tells it. */
  readonly incarnation?: number | undefined;
  /** Epoch milliseconds. One from the future counts as of the moment when it was first seen. */
  readonly lastHeartbeatAt?: number | undefined;
  /** `false`: it is replaced like one that fell silent. Defaults to true. */
  readonly healthy?: boolean | undefined;
}

/** What `observe` answers. Where it is not complete, nothing is concluded to be missing or gone. */
export interface Observation {
  readonly complete: boolean;
  readonly items: Iterable<ObservedResource>;
}

/** What `desired` answers. Where it is not complete, nothing that it lacks is surplus. */
export interface Desired<Spec = unknown> {
  readonly complete: boolean;
  readonly resources: Iterable<DesiredResource<Spec>>;
}

/** What `observe` and `desired` are handed. */
export interface PassContext {
  /** Epoch milliseconds by the clock of this process. */
  readonly now: number;
  /** The epoch of the leader, where there is an election. */
  readonly epoch?: number;
  /** Aborted when the time is up or the reconciler stops. */
  readonly signal: AbortSignal;
}
