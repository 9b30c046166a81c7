import type { ResourceState } from "../store.ts";
import type { Condition } from "./planned.ts";

/** How a group stands. */
export interface ReconcilerStatus {
  readonly name: string;
  readonly generation: number;
  /** The generation that the last pass acted on. */
  readonly observedGeneration: number;
  /** How many resources are desired. */
  readonly desired: number;
  /** Rows by state. */
  readonly observed: Record<ResourceState, number>;
  readonly drift: {
    readonly missing: number;
    readonly surplus: number;
    readonly stale: number;
    readonly outdated: number;
  };
  readonly converged: boolean;
  readonly conditions: Condition[];
  readonly paused: boolean;
  /** Absent without an election. */
  readonly leader?: boolean;
}

/** How it stands with the group, whoever asks. */
export type GroupStanding = Omit<ReconcilerStatus, "name" | "paused" | "leader">;
