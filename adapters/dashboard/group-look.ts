import { type GroupStatus, statusOf } from "../../src/reconcile/conditions.ts";
import type { Condition, HeldAction } from "../../src/reconcile/planned.ts";
import type { Reconciler } from "../../src/reconcile/reconciler.ts";
import { desiredOfText } from "../../src/resources/desired-text.ts";
import type { GroupSummary, HeldSummary } from "./dashboard-update.ts";
import { StateCounter } from "./state-counts.ts";
import type { StoreReader } from "./store-reader.ts";

/** So many of what is held are shown. */
export const MOST_HELD = 50;

/** How one group stands: by its reconciler where that is here, else by the ledger. */
export interface GroupLook {
  /** @throws what the store did. */
  look(nowMs: number): Promise<GroupSummary>;
}

/** By the reconciler of this process, which knows what changed. */
export function groupHere(name: string, reconciler: Reconciler): GroupLook {
  return {
    async look() {
      const status = await reconciler.status();
      const last = reconciler.lastPass();
      const { generation, observedGeneration, desired, observed, conditions, paused, leader } = status;
      return {
        name,
        generation,
        observedGeneration,
        desired,
        observed,
        ...convergedOf(status.converged, observedGeneration, conditions),
        conditions,
        isHere: true,
        paused,
        ...(leader === undefined ? {} : { leader }),
        ...(last === undefined ? {} : { lastPassAt: last.at, ...heldOf(last.report.held) }),
      };
    },
  };
}

/** By the ledger. */
export function groupInLedger(name: string, read: StoreReader): GroupLook {
  const counter = new StateCounter(read, name);
  const count = desiredCounter();
  return {
    async look(nowMs) {
      const { generation, desired: text, status } = await read((store, call) => store.resources.getDesired(name, call));
      const observed = await counter.count(nowMs);
      const desired = await count(text);
      const { observedGeneration, conditions }: GroupStatus = statusOf(status);
      const isConverged = conditions.some((condition) => condition.type === "Converged" && condition.status);
      return {
        name,
        generation,
        observedGeneration,
        ...(desired === undefined ? {} : { desired }),
        ...(observed === undefined ? {} : { observed }),
        ...convergedOf(isConverged && observedGeneration === generation, observedGeneration, conditions),
        conditions,
        isHere: false,
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

/** How many resources a text of the ledger desires. A long one is read once. */
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
