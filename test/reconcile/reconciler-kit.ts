import type { EvenkeelEvent, HeldAction, LeaderGate, PassReport, PlannedAction } from "evenkeel";
import type { ManualClock } from "evenkeel/testing";

/** What can change a ledger. */
const WRITES = new Set(["resources.apply", "resources.setDesired", "resources.heartbeat", "resources.purge"]);

export function writesIn(calls: readonly string[]): string[] {
  return calls.filter((call) => WRITES.has(call));
}

/** `create web-0/1` */
export function actionsOf({ actions }: { readonly actions: readonly PlannedAction[] }): string[] {
  return actions.map(({ type, id, incarnation }) => `${type} ${id}/${incarnation}`);
}

/** `create web-0: backoff` */
export function heldOf({ held }: { readonly held: readonly HeldAction[] }): string[] {
  return held.map(({ type, id, heldBy }) => `${type} ${id}: ${heldBy}`);
}

type ConditionName =
  | "Converged"
  | "ObserveFailed"
  | "DesiredFailed"
  | "StalenessFailed"
  | "MassStaleness"
  | "UnconfirmedEmpty"
  | "Paused"
  | "NotLeader"
  | "Fenced";

/** The conditions that hold, with their reasons. */
export function conditionsOf({ conditions }: Pick<PassReport, "conditions">): {
  readonly [Name in ConditionName]?: string;
} {
  return Object.fromEntries(conditions.filter(({ status }) => status).map(({ type, reason }) => [type, reason]));
}

export function eventsOf<Type extends EvenkeelEvent["type"]>(events: readonly EvenkeelEvent[], type: Type) {
  return events.filter((event): event is Extract<EvenkeelEvent, { type: Type }> => event.type === type);
}

/** A promise that somebody else settles. */
export function deferred<T = void>() {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((pass, fail) => {
    resolve = pass;
    reject = fail;
  });
  return { promise, resolve, reject };
}

/** Lets all that is ready run, and what that makes ready. */
export async function settle(clock: ManualClock): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await clock.advance(0);
}

/** A leadership that a test gives and takes. */
export function fakeLeader(epoch: number): LeaderGate & { drain(): void; lose(): void; lead(epoch: number): void } {
  let controller = new AbortController();
  let now: number | undefined = epoch;
  return {
    isLeader: () => now !== undefined,
    get epoch() {
      return now;
    },
    get signal() {
      return controller.signal;
    },
    /** It leads still, and is about to give that up. */
    drain() {
      controller.abort(new Error("not the leader for long"));
    },
    lose() {
      now = undefined;
      controller.abort(new Error("not the leader any more"));
    },
    lead(next) {
      now = next;
      controller = new AbortController();
    },
  };
}
