import type { DesiredSet } from "../resources/desired-text.ts";
import type { ObservedResource } from "./observation.ts";
import type { AnswerKind } from "./verdict.ts";

/** What was believed at the end of a look, so that it can be believed again when another one came after it. */
export interface Belief {
  readonly desired: AnswerKind | "unset";
  readonly observed: AnswerKind | "ledger";
  readonly generation: number;
  /** Absent: nothing was ever wanted. */
  readonly wanted?: DesiredSet;
  /** Absent: nothing was observed yet. */
  readonly sight?: Sight;
}

/** An observation that was taken in. */
export interface Sight {
  readonly number: number;
  readonly kind: AnswerKind;
  readonly items: readonly ObservedResource[];
  /** When, by the store's clock. */
  readonly nowMs: number;
}
