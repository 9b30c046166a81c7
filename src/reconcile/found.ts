import type { DesiredState, ResourceState } from "../store.ts";
import type { Belief } from "./belief.ts";
import type { PassContext } from "./observation.ts";
import type { Composition } from "./plan.ts";
import type { HeldBy } from "./planned.ts";
import type { AnswerKind } from "./verdict.ts";

/** How a look is to be taken. */
export interface LookTerms {
  /** A `dry` look writes nothing and confirms nothing. */
  readonly mode: "dry" | "real";
  readonly context: PassContext;
  /** What keeps this process from acting at all. Asked whenever it is about to: a look takes as long as its callbacks. */
  readonly blockedBy: () => HeldBy | undefined;
  /** For how long yet nobody is declared dead, in milliseconds; asked at each judgement. Defaults to 0. */
  readonly graceLeftMs?: () => number;
  readonly isApproved: boolean;
}

/** Something that could not be found out. */
export interface Unknown {
  readonly of: "observe" | "desired" | "staleness" | "surplus";
  readonly error: unknown;
}

/** What a look found. */
export interface Found {
  readonly composition: Composition;
  readonly generation: number;
  readonly stored: DesiredState;
  readonly unknowns: readonly Unknown[];
  readonly desired: AnswerKind | "unset";
  readonly observed: AnswerKind | "ledger";
  /** The desired state could not be kept in the ledger, because a later leader was there. */
  readonly isFenced: boolean;
  /** When the next row may fall silent, by the store's clock. */
  readonly silenceAt?: number;
  /** How many resources are desired, and rows by state. */
  readonly wanted: number;
  readonly states: Readonly<Record<ResourceState, number>>;
  /** What a review of it has to go by, whatever other looks came to believe since. */
  readonly belief: Belief;
  /** When the observation was asked for, by the store's clock. */
  readonly askedAt?: number;
}

/** Whether it could not be found out what is desired or what there is. Policies and orders that fail hide neither. */
export function isBlind({ unknowns }: Pick<Found, "unknowns">): boolean {
  return unknowns.some(({ of }) => of === "desired" || of === "observe");
}

/** The terms under which a look is weighed that found this. */
export function blocked(terms: LookTerms, found: Pick<Found, "unknowns" | "isFenced">): LookTerms {
  const blockedBy = isBlind(found) ? "unknown" : found.isFenced ? "notLeader" : undefined;
  return { ...terms, blockedBy: () => terms.blockedBy() ?? blockedBy };
}
