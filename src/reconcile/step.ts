import type { ResourceRow } from "../store.ts";
import type { PlannedAction } from "./planned.ts";

/** What a step needs besides what the plan shows of it. Specs are texts as they stand in the ledger. */
export type Step = PlannedAction &
  (
    | {
        readonly type: "create" | "replace";
        /** The next incarnation is made, if the newest is still `after` (0: the id has no row). */
        readonly how: "next";
        readonly after: number;
        /** A row that is known to be gone, and is marked TERMINATED before the next is made. */
        readonly gone?: ResourceRow;
        readonly spec?: string;
        readonly generation: number;
      }
    | {
        readonly type: "create" | "replace";
        /** A PENDING row whose creation was interrupted or failed is created again, under its own key and spec. */
        readonly how: "again";
        readonly row: ResourceRow;
      }
    | { readonly type: "update"; readonly row: ResourceRow; readonly spec?: string; readonly generation: number }
    | {
        readonly type: "fail";
        readonly row: ResourceRow;
        /** Not if it has given a sign of life since. */
        readonly ifSilentForMs?: number;
      }
    | {
        readonly type: "terminate" | "forceTerminate";
        readonly row: ResourceRow;
        /** Where the row is TERMINATED and the resource was observed all the same: it stays so. */
        readonly again: boolean;
      }
    | {
        /** Observed, and of no row that is kept. */
        readonly type: "terminate" | "forceTerminate";
        readonly row?: undefined;
        readonly externalId?: string;
      }
    | { readonly type: "drop"; readonly row: ResourceRow }
    | {
        /** Made as `incarnation`, and as tombstones what is missing between `after` and that. */
        readonly type: "adopt";
        readonly after: number;
        readonly externalId?: string;
        readonly spec?: string;
        readonly generation: number;
      }
  );

/** The text of the spec that a step makes, or brings up to date to. */
export function specOf(step: Step): string | undefined {
  switch (step.type) {
    case "create":
    case "replace":
      return step.how === "again" ? step.row.spec : step.spec;
    case "update":
      return step.spec;
    default:
      return undefined;
  }
}

/**
 * What became of a step. `row` is what stands in the ledger afterwards, as far as it is known.
 *
 * - `done`: for `terminate` and `forceTerminate` with an own `observe`: accepted, and the row is TERMINATING still.
 * - `failed`: `error` is what the callback threw, or that its time was up.
 * - `fenced`: a writer with a higher epoch was there, or the leadership is gone.
 * - `lost`: another writer was first, or holds the row, or it gave a sign of life: nothing is to be done about it but to look again.
 * - `notBegun`: the pass ended before.
 */
export interface StepOutcome {
  readonly step: Step;
  readonly result: "done" | "failed" | "fenced" | "lost" | "notBegun";
  /** For `failed`. */
  readonly error?: unknown;
  /** For `failed`: the callback's time was up, and whether it did anything is unknown. */
  readonly timedOut?: boolean;
  readonly row?: ResourceRow;
  /** For `lost`: the ledger has nothing any more of what it was to be done to. */
  readonly isGone?: true;
}
