import { isEvenkeelError } from "../../src/errors.ts";
import { hasConverged, statusOf } from "../../src/reconcile/conditions.ts";
import { LedgerView } from "../../src/reconcile/ledger-view.ts";
import type { Condition } from "../../src/reconcile/planned.ts";
import { isLive, newestOf, type Slot } from "../../src/reconcile/slot.ts";
import { TOMBSTONE_MS } from "../../src/reconcile/survey.ts";
import { desiredOfText } from "../../src/resources/desired-text.ts";
import type { ChangedResources, ResourceRow, ResourceState } from "../../src/store.ts";
import type { ResourceReader } from "./resource-rows.ts";
import type { WatchChange } from "./watch-change.ts";

/** How a group stands, as far as the ledger tells. */
export interface GroupSnapshot {
  readonly group: string;
  readonly generation: number;
  /** The generation that its reconciler has acted on. */
  readonly observedGeneration: number;
  readonly desired: number;
  /** Rows by state, tombstones included. */
  readonly observed: Readonly<Record<ResourceState, number>>;
  readonly drift: {
    /** Desired, and neither there nor being made. */
    readonly missing: number;
    /** There, not desired, and not being ended. */
    readonly surplus: number;
    /** PROVISIONED, and their last heartbeat is longer ago than asked for; 1,000 stands for that many or more. */
    readonly silent: number;
    /** There with another spec than desired. */
    readonly outdated: number;
  };
  readonly conditions: readonly Condition[];
  readonly converged: boolean;
  /** Why the group can't be read: then all else is as it was last. */
  readonly unreadable?: string;
}

const PAGE = 1_000;

const NOTHING_YET = {
  ...{ generation: 0, observedGeneration: 0, desired: 0, conditions: [], converged: false },
  observed: { PENDING: 0, PROVISIONED: 0, FAILED: 0, TERMINATING: 0, TERMINATED: 0 },
  drift: { missing: 0, surplus: 0, silent: 0, outdated: 0 },
} as const;

/** A group that is looked at again and again. After the first look, a look costs what was written since. */
export class WatchedGroup {
  readonly #name: string;
  readonly #silentMs: number;
  readonly #view: LedgerView;
  #generation = 0;
  /** Whether nothing that the drift counts has changed since it was counted. */
  #isCounted = false;
  #counted: Omit<GroupSnapshot["drift"], "silent"> = NOTHING_YET.drift;
  #last: GroupSnapshot | undefined;

  /** @param silentMs - how long a heartbeat may be ago. */
  constructor(name: string, silentMs: number) {
    this.#name = name;
    this.#silentMs = silentMs;
    this.#view = new LedgerView(name);
  }

  /**
   * Looks once. The first look tells no changes.
   * @param nowMs - what changes are dated with that the ledger does not date.
   * @param onChange - told at once, since what comes after it may fail.
   */
  async look(reader: ResourceReader, nowMs: number, onChange: (change: WatchChange) => void): Promise<GroupSnapshot> {
    try {
      return await this.#look(reader, nowMs, onChange);
    } catch (error) {
      if (!isEvenkeelError(error) || error.code !== "RECORD_CORRUPT") throw error;
      const before = this.#last ?? { group: this.#name, ...NOTHING_YET };
      return { ...before, converged: false, unreadable: error.message };
    }
  }

  async #look({ store, ask }: ResourceReader, nowMs: number, onChange: (change: WatchChange) => void) {
    const group = this.#name;
    const before = this.#last;
    const state = await ask((call) => store.resources.getDesired(group, call));
    if (state.generation !== this.#generation && state.desired !== undefined) {
      await this.#view.want(await desiredOfText(state.desired));
      this.#isCounted = false;
    }
    this.#generation = state.generation;
    if (before !== undefined && before.generation !== state.generation) {
      const { wanted: desired } = this.#view;
      onChange({ type: "desired", at: nowMs, group, generation: state.generation, desired });
    }
    await this.#view.refresh(async (cursor) => {
      const request = { group, limit: PAGE, ...(cursor === undefined ? {} : { cursor }) };
      const changed = await ask((call) => store.resources.changedSince(request, call));
      if (changed.rows.length > 0 || changed.reset) this.#isCounted = false;
      if (before !== undefined && !changed.reset) for (const change of this.#resourceChanges(changed)) onChange(change);
      return changed;
    }, PAGE);
    if (this.#view.hasTombstoneBefore(nowMs - TOMBSTONE_MS)) this.#view.forgetTombstonesBefore(nowMs - TOMBSTONE_MS);
    if (!this.#isCounted) this.#counted = driftOf(this.#view.slots());
    this.#isCounted = true;
    const silence = { group, ageMs: this.#silentMs, limit: PAGE };
    const { rows: silent } = await ask((call) => store.resources.staleBefore(silence, call));
    const status = statusOf(state.status);
    const { observedGeneration, conditions } = status;
    const snapshot: GroupSnapshot = {
      group,
      generation: state.generation,
      observedGeneration,
      desired: this.#view.wanted,
      observed: { ...this.#view.states },
      drift: { ...this.#counted, silent: silent.filter(({ lastHeartbeatAt }) => lastHeartbeatAt !== undefined).length },
      conditions,
      converged: hasConverged(status, state.generation),
    };
    this.#last = snapshot;
    if (before !== undefined) for (const change of conditionChanges(before, snapshot)) onChange(change);
    return snapshot;
  }

  #resourceChanges({ rows }: ChangedResources): WatchChange[] {
    return rows.flatMap((row) => {
      const known = this.#view.slot(row.id)?.rows.find(({ incarnation }) => incarnation === row.incarnation);
      return known !== undefined && known.state === row.state && known.reason === row.reason
        ? []
        : [resourceChange(row, known)];
    });
  }
}

function resourceChange(row: ResourceRow, known: ResourceRow | undefined): WatchChange {
  const { group, id, incarnation, state, reason, stateChangedAt } = row;
  return {
    ...{ type: "resource", at: stateChangedAt, group, id, incarnation },
    ...(known === undefined ? {} : { from: known.state }),
    to: state,
    ...(reason === undefined ? {} : { reason }),
  };
}

function conditionChanges(before: GroupSnapshot, { group, conditions }: GroupSnapshot): WatchChange[] {
  return conditions.flatMap(({ type, status, reason, since }) => {
    const known = before.conditions.find((condition) => condition.type === type);
    // One that was never true is no news.
    if (known?.status === status || (known === undefined && !status)) return [];
    return [{ type: "condition", at: since, group, condition: type, status, reason }];
  });
}

function driftOf(slots: Iterable<Slot>) {
  const drift = { missing: 0, surplus: 0, outdated: 0 };
  for (const slot of slots) {
    const newest = newestOf(slot);
    const isThere = newest !== undefined && (newest.state === "PENDING" || newest.state === "PROVISIONED");
    if (slot.wanted === undefined) {
      if (newest !== undefined && isLive(newest) && newest.state !== "TERMINATING") drift.surplus += 1;
    } else if (!isThere) drift.missing += 1;
    else if (newest.spec !== slot.wanted.spec) drift.outdated += 1;
  }
  return drift;
}
