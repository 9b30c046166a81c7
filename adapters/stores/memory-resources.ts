import type { Clock } from "../../src/clock.ts";
import { changesAnswer, changesStart } from "../../src/resource-changes.ts";
import { decideBeats, isSilent, staleAnswer } from "../../src/resource-heartbeats.ts";
import {
  afterPurge,
  compareCodePoints,
  desiredOf,
  type GroupDecision,
  type GroupRecord,
  isPurgeable,
  type ResourceContext,
  resourceRowOf,
} from "../../src/resource-record.ts";
import { assertFences, decideApply, decideDesired } from "../../src/resource-writes.ts";
import type { ResourceStore } from "../../src/store.ts";
import { MemoryRows } from "./memory-rows.ts";

export interface MemoryResourcesOptions {
  readonly clock: Clock;
  /** Takes a number higher than all before it. */
  readonly nextToken: () => number;
  /** Throws once the store is closed. */
  readonly assertOpen: () => void;
}

/** The resources of a ledger in memory. Rows are values that are replaced and never changed, so nobody needs a copy. */
export function memoryResources({ clock, nextToken, assertOpen }: MemoryResourcesOptions): ResourceStore & {
  clear(): void;
} {
  const groups = new Map<string, GroupRecord>();
  const rowsByGroup = new Map<string, MemoryRows>();

  /** Reading alone keeps nothing: a group has rows of its own from its first `apply`. */
  const rowsOf = (group: string): MemoryRows => rowsByGroup.get(group) ?? new MemoryRows();

  /** One moment for all of an operation, in whole milliseconds whatever the clock gives. */
  const context = (): ResourceContext => ({ nowMs: Math.floor(clock.now()), nextToken });

  function carryOut<Result>(group: string, { result, write }: GroupDecision<Result>): Result {
    if (write !== undefined) groups.set(group, write);
    return result;
  }

  return {
    async getDesired(group) {
      assertOpen();
      return desiredOf(groups.get(group));
    },

    async setDesired(request) {
      assertOpen();
      return carryOut(request.group, decideDesired(groups.get(request.group), request, context()));
    },

    async apply(request) {
      assertOpen();
      const { group } = request;
      assertFences(request.writes, request.fences);
      const rows = rowsOf(group);
      const result = carryOut(group, decideApply(groups.get(group), request, rows, context()));
      rowsByGroup.set(group, rows);
      return result;
    },

    async heartbeat(request) {
      assertOpen();
      const { group } = request;
      return decideBeats(groups.get(group), request, rowsOf(group), context().nowMs);
    },

    async get(group, id) {
      assertOpen();
      const record = rowsOf(group).newest(id);
      return record === undefined ? undefined : resourceRowOf(record, context().nowMs);
    },

    async list({ group, states, limit, after }) {
      assertOpen();
      const { nowMs } = context();
      const wanted = states === undefined ? undefined : new Set(states);
      return rowsOf(group)
        .inOrder(after, limit, ({ state }) => wanted?.has(state) ?? true)
        .map((record) => resourceRowOf(record, nowMs));
    },

    async changedSince({ group, cursor, limit }) {
      assertOpen();
      const start = changesStart(groups.get(group), cursor);
      const records = rowsOf(group).changedAfter(start.afterSequence, limit);
      return changesAnswer(groups.get(group), start, records, context().nowMs);
    },

    async staleBefore(request) {
      assertOpen();
      const { group, ageMs, limit } = request;
      const { nowMs } = context();
      const longest = rowsOf(group).longestSilent(limit, (record) => isSilent(record, ageMs, nowMs));
      return staleAnswer(longest, request, nowMs);
    },

    async purge({ group, ageMs, limit }) {
      assertOpen();
      const { nowMs } = context();
      const stored = groups.get(group);
      if (stored === undefined) return { purged: 0 };
      const rows = rowsOf(group);
      const old = rows.purgeable(limit, (record) => isPurgeable(record, ageMs, nowMs));
      groups.set(group, afterPurge(stored, old));
      for (const record of old) rows.delete(record);
      return { purged: old.length };
    },

    async listGroups({ limit, after }) {
      assertOpen();
      const names = [...groups.keys()].filter((name) => after === undefined || compareCodePoints(name, after) > 0);
      return names.sort(compareCodePoints).slice(0, limit);
    },

    clear() {
      groups.clear();
      rowsByGroup.clear();
    },
  };
}
