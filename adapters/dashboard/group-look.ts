import { statusOf } from "../../src/reconcile/conditions.ts";
import type { Condition, HeldAction } from "../../src/reconcile/planned.ts";
import type { Reconciler } from "../../src/reconcile/reconciler.ts";
import { desiredOfText } from "../../src/resources/desired-text.ts";
import type { GroupSummary, HeldSummary } from "./dashboard-update.ts";
import { sparedLook } from "./spared-look.ts";
import { StateCounter } from "./state-counter.ts";
import type { StoreReader } from "./store-reader.ts";

/** So many of what is held are shown. */
export const MOST_HELD = 50;

/** How one group stands, and what of it is from an earlier look, or not known at all. */
export interface GroupFound {
  readonly summary: GroupSummary;
  /** What kept us from finding out the rest. */
  readonly failure?: unknown;
}

/** Looks at one group. */
export interface GroupLook {
  /**
   * @param nowMs - by a monotonic clock.
   * @throws what the store did, where nothing could be found out.
   */
  look(nowMs: number): Promise<GroupFound>;
}

/** By the reconciler of this process, which knows what changed; by the ledger where it can't tell. */
export function groupHere(name: string, reconciler: Reconciler, read: StoreReader): GroupLook {
  const inLedger = groupInLedger(name, read);
  return {
    async look(nowMs) {
      const last = reconciler.lastPass();
      const seen = last === undefined ? {} : { lastPassAt: last.at, ...heldOf(last.report.held) };
      try {
        const { generation, observedGeneration, desired, observed, ...status } = await reconciler.status();
        const { conditions, converged, paused, leader } = status;
        return {
          summary: {
            ...{ name, generation, observedGeneration, desired, observed, conditions, isHere: true, paused },
            ...convergedOf(converged, observedGeneration, conditions),
            ...(leader === undefined ? {} : { leader }),
            ...seen,
          },
        };
      } catch (failure) {
        const { summary } = await inLedger.look(nowMs);
        return { summary: { ...summary, isHere: true, ...seen }, failure };
      }
    },
  };
}

/** By the ledger alone. */
export function groupInLedger(name: string, read: StoreReader): GroupLook {
  const counter = new StateCounter(read, name);
  const desiredIn = desiredCounter();
  // A list of very many resources is a long text.
  const said = sparedLook(
    () => read((store, call) => store.resources.getDesired(name, call)),
    ({ desired }) => desired?.length ?? 0,
  );
  return {
    async look(nowMs) {
      const { generation, desired: text, status } = await said();
      const failures: unknown[] = [];
      const note = (error: unknown): undefined => void failures.push(error);
      const observed = (await counter.count(nowMs).catch(note)) ?? counter.last;
      const desired = await desiredIn(text).catch(note);
      const { observedGeneration, conditions } = groupStatusOf(status, note);
      const isConverged = conditions.some((condition) => condition.type === "Converged" && condition.status);
      return {
        summary: {
          ...{ name, generation, observedGeneration, conditions, isHere: false },
          ...(desired === undefined ? {} : { desired }),
          ...(observed === undefined ? {} : { observed }),
          ...convergedOf(isConverged && observedGeneration === generation, observedGeneration, conditions),
        },
        ...(failures.length === 0 ? {} : { failure: failures[0] }),
      };
    },
  };
}

/** What is held, the first of it. */
export function heldOf(held: readonly HeldAction[]): { held: readonly HeldSummary[]; heldTotal: number } {
  const shown = held.slice(0, MOST_HELD).map(({ type, id, incarnation, reason, heldBy }) => {
    return { type, id, incarnation, reason, heldBy };
  });
  return { held: shown, heldTotal: held.length };
}

/** Before the first pass nobody can say. */
function convergedOf(
  converged: boolean,
  observedGeneration: number,
  conditions: readonly Condition[],
): Pick<GroupSummary, "converged"> {
  return observedGeneration === 0 && conditions.length === 0 ? {} : { converged };
}

function groupStatusOf(text: string | undefined, note: (error: unknown) => void) {
  try {
    return statusOf(text);
  } catch (error) {
    note(error);
    return statusOf(undefined);
  }
}

/** How many resources a text of the ledger desires. Each is read once. */
function desiredCounter(): (text: string | undefined) => Promise<number | undefined> {
  let known: { readonly text: string; readonly count: number } | undefined;
  return async (text) => {
    if (text === undefined) return undefined;
    if (known?.text === text) return known.count;
    const set = await desiredOfText(text);
    known = { text, count: set.kind === "count" ? set.count : set.resources.length };
    return known.count;
  };
}
