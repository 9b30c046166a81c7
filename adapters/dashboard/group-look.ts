import { hasConverged, holds, statusOf } from "../../src/reconcile/conditions.ts";
import type { Condition, HeldAction, LastPass } from "../../src/reconcile/planned.ts";
import type { Reconciler } from "../../src/reconcile/reconciler.ts";
import { desiredOfText, wantedCountOf } from "../../src/resources/desired-text.ts";
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
  const said = ledgerWord(name, read);
  const inLedger = groupBy(said, name, read);
  /** What was known last of this process. */
  let own: Pick<GroupSummary, "paused" | "leader"> = {};
  const lastOf = (last: LastPass | undefined): Partial<GroupSummary> => {
    if (last === undefined) return {};
    // Another leads, and holds other things by now.
    const held = own.leader === false ? {} : heldOf(last.report.held);
    return { lastPassAt: last.at, ...held };
  };
  return {
    async look(nowMs) {
      const last = reconciler.lastPass();
      try {
        const { generation, observedGeneration, desired, observed, ...status } = await reconciler.status();
        const { conditions, converged, paused, leader } = status;
        own = { paused, ...(leader === undefined ? {} : { leader }) };
        // Where nobody has asked yet what is desired, or it could not be found out, the ledger has what was so last.
        const isAsked = generation > 0 && !holds(conditions, "DesiredFailed");
        const word: LedgerWord & { readonly converged?: boolean } = isAsked
          ? { generation, desired, converged }
          : await said();
        return {
          summary: {
            ...{ name, generation: word.generation, observedGeneration, observed, conditions, isHere: true },
            ...own,
            ...(word.desired === undefined ? {} : { desired: word.desired }),
            ...convergedOf({ ...word, observedGeneration, conditions }),
            ...lastOf(last),
          },
          ...(word.failure === undefined ? {} : { failure: word.failure }),
        };
      } catch (failure) {
        const { summary } = await inLedger.look(nowMs);
        return { summary: { ...summary, isHere: true, ...own, ...lastOf(last) }, failure };
      }
    },
  };
}

/** By the ledger alone. */
export function groupInLedger(name: string, read: StoreReader): GroupLook {
  return groupBy(ledgerWord(name, read), name, read);
}

function groupBy(said: () => Promise<LedgerWord>, name: string, read: StoreReader): GroupLook {
  const counter = new StateCounter(read, name);
  return {
    async look(nowMs) {
      const { generation, desired, status, failure } = await said();
      const failures: unknown[] = failure === undefined ? [] : [failure];
      const note = (error: unknown): undefined => void failures.push(error);
      const observed = (await counter.count(nowMs).catch(note)) ?? counter.last;
      const { observedGeneration, conditions } = groupStatusOf(status, note);
      return {
        summary: {
          ...{ name, generation, observedGeneration, conditions, isHere: false },
          ...(desired === undefined ? {} : { desired }),
          ...(observed === undefined ? {} : { observed }),
          ...convergedOf({ generation, observedGeneration, conditions }),
        },
        ...(failures.length === 0 ? {} : { failure: failures[0] }),
      };
    },
  };
}

/** What the ledger says of a group besides its rows. */
interface LedgerWord {
  readonly generation: number;
  /** Absent where nothing was desired yet, or what was is not to be read. */
  readonly desired?: number;
  readonly status?: string;
  /** What kept it from being read. */
  readonly failure?: unknown;
}

/** Asks the ledger; it throws what the store did. */
function ledgerWord(name: string, read: StoreReader): () => Promise<LedgerWord> {
  const desiredIn = desiredCounter();
  // A list of very many resources is a long text.
  const said = sparedLook(
    () => read((store, call) => store.resources.getDesired(name, call)),
    ({ desired }) => desired?.length ?? 0,
  );
  return async () => {
    const { generation, desired: text, status } = await said();
    const word = { generation, ...(status === undefined ? {} : { status }) };
    try {
      const desired = await desiredIn(text);
      return desired === undefined ? word : { ...word, desired };
    } catch (failure) {
      return { ...word, failure };
    }
  };
}

/** What is held, the first of it. */
export function heldOf(held: readonly HeldAction[]): { held: readonly HeldSummary[]; heldTotal: number } {
  const shown = held.slice(0, MOST_HELD).map(({ type, id, incarnation, reason, heldBy }) => {
    return { type, id, incarnation, reason, heldBy };
  });
  return { held: shown, heldTotal: held.length };
}

/** Whether it has converged: `converged` says it, or the conditions do. Before the first pass nobody can say. */
function convergedOf({
  generation,
  observedGeneration,
  conditions,
  converged = hasConverged({ observedGeneration, conditions }, generation),
}: {
  readonly generation: number;
  readonly observedGeneration: number;
  readonly conditions: readonly Condition[];
  readonly converged?: boolean;
}): Pick<GroupSummary, "converged"> {
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
    known = { text, count: wantedCountOf(set) };
    return known.count;
  };
}
