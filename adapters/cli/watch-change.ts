import type { ResourceState } from "../../src/store.ts";

/** Something that became otherwise while it was watched. `at` is epoch milliseconds. */
export type WatchChange =
  | {
      readonly type: "resource";
      readonly at: number;
      readonly group: string;
      readonly id: string;
      readonly incarnation: number;
      /** What it was when it was last seen; absent for an incarnation that is new. */
      readonly from?: ResourceState;
      readonly to: ResourceState;
      readonly reason?: string;
    }
  | {
      readonly type: "desired";
      readonly at: number;
      readonly group: string;
      readonly generation: number;
      readonly desired: number;
    }
  | {
      readonly type: "condition";
      readonly at: number;
      readonly group: string;
      readonly condition: string;
      readonly status: boolean;
      readonly reason: string;
    }
  | {
      readonly type: "leader";
      readonly at: number;
      readonly election: string;
      /** Absent where nobody leads any more. */
      readonly holder?: string;
      readonly epoch?: number;
    }
  | {
      readonly type: "shards";
      readonly at: number;
      readonly division: string;
      readonly members: number;
      readonly held: number;
    };

/** A change as one line for people, without its time. */
export function changeText(change: WatchChange): string {
  switch (change.type) {
    case "resource": {
      const { group, id, incarnation, from, to, reason } = change;
      const moved = from === undefined ? to : `${from} -> ${to}`;
      return `${group}  ${id}#${incarnation}  ${moved}${reason === undefined ? "" : `  ${reason}`}`;
    }
    case "desired":
      return `${change.group}  desired ${change.desired}, generation ${change.generation}`;
    case "condition":
      return `${change.group}  ${change.condition} ${change.status ? "holds" : "is over"}: ${change.reason}`;
    case "leader":
      return change.holder === undefined
        ? `${change.election}  nobody leads`
        : `${change.election}  ${change.holder} leads, epoch ${change.epoch}`;
    case "shards":
      return `${change.division}  ${change.held} shards held by ${change.members} members`;
  }
}
