import type { ResourceRow } from "../store.ts";
import type { ActionType, HeldBy } from "./planned.ts";
import type { ObservedItem, Slot } from "./slot.ts";
import type { Step } from "./step.ts";

/** What a slot is judged by, besides itself. All moments are of the store's clock. */
export interface JudgeContext {
  readonly nowMs: number;
  readonly generation: number;
  /** From an answer that is partial, nothing is surplus. `unconfirmed`: complete, empty, and not believed yet. */
  readonly desired: AnswerKind;
  /** `ledger`: its own rows are the observation. From a partial answer, nothing is missing or gone. */
  readonly observed: AnswerKind | "ledger";
  /** When the observation was asked for: what came about since then it can't show. Defaults to now. */
  readonly observedAt?: number;
  readonly replacement: "replaceFirst" | "fenceFirst";
  readonly canUpdate: boolean;
  readonly canForce: boolean;
  readonly terminateGraceMs: number;
  readonly observeGraceMs: number;
  /** Whether a PROVISIONED row has fallen silent, or is said to be ill. */
  healthOf(row: ResourceRow, item: ObservedItem | undefined): Health;
  /** Nobody is declared dead yet, because we may have been deaf ourselves. */
  readonly graceUntil?: number;
  /**
   * Until when an action waits after failures; `blocked`: until its desired state changes or it is woken.
   * @param spec - what it makes.
   */
  retryOf(key: string, spec: string | undefined): number | "blocked" | undefined;
  /** When a termination was accepted by the outside world, which has not been seen to have carried it out. */
  acceptedAt(key: string): number | undefined;
}

export type AnswerKind = "complete" | "partial" | "unconfirmed";

export type Health =
  | { readonly verdict: "fresh"; readonly nextCheckAt?: number }
  | {
      readonly verdict: "stale";
      readonly reason: "HeartbeatStale" | "Unhealthy";
      /** How long it was silent when that was read. */
      readonly silentForMs?: number;
    };

/** A step that a slot calls for, and what keeps it from being taken. */
export interface Proposal {
  readonly step: Step;
  /**
   * Which bounds of the whole group it falls under: those on creation, on termination, on replacing what fell silent (which the mass
   * guard watches), or on disrupting what works.
   */
  readonly kind: "create" | "terminate" | "stale" | "voluntary" | "ledger";
  readonly heldBy?: HeldBy;
  /** How often the action has failed, for those that have to be ordered by it. */
  readonly retryKey: string;
  /** For terminations: what they end has fallen silent, and goes before what works. */
  readonly isSilent?: boolean;
}

/** What is to be done about a slot. */
export interface Verdict {
  readonly slot: Slot;
  readonly proposals: readonly Proposal[];
  /** Nothing is to be done, and nothing is waited for. */
  readonly settled: boolean;
  /** When time alone may change the verdict. */
  readonly nextAt?: number;
  readonly drift: {
    readonly missing: number;
    readonly surplus: number;
    readonly stale: number;
    readonly outdated: number;
  };
  /** A replacement, a termination or a failure is under way: it counts against the disruption budget. */
  readonly disrupted: boolean;
  /** When what fell silent there last got on towards its end, as long as nothing has been made in its place. */
  readonly silencedAt?: number;
}

/** The retry keys of a slot's actions. A termination is of one incarnation, the others of the slot. */
export function retryKeyOf(type: ActionType, id: string, incarnation: number, externalId = ""): string {
  switch (type) {
    case "terminate":
    case "forceTerminate":
      return `${type}/${incarnation}/${externalId}/${id}`;
    case "update":
      return `update/${id}`;
    default:
      return `create/${id}`;
  }
}

/** Of a slot that somebody acts on already. */
export function busyVerdict(slot: Slot): Verdict {
  return {
    slot,
    proposals: [],
    settled: false,
    drift: { missing: 0, surplus: 0, stale: 0, outdated: 0 },
    disrupted: true,
  };
}
