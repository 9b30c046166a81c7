import { changesAnswer, changesStart } from "../resource-changes.ts";
import { decideBeats, silentSince, staleAnswer } from "../resource-heartbeats.ts";
import {
  afterPurge,
  compareCodePoints,
  compareRows,
  desiredOf,
  type FencedRows,
  type GroupDecision,
  isPurgeable,
  type ResourceRecord,
  resourceRowOf,
} from "../resource-record.ts";
import { copyOfApply, decideApply, decideDesired } from "../resource-writes.ts";
import type { ResourceStore } from "../store.ts";
import type { InStep } from "./keyed-executions.ts";
import type { KeyedStep } from "./keyed-step.ts";

/**
 * The resources of a keyed store: the pure decisions, each in one step, on a copy of the request as it was made. Readers look at
 * every row of a group.
 */
export function keyedResources(inStep: InStep): ResourceStore {
  return {
    getDesired(group, call) {
      return inStep(call, ({ groups }) => desiredOf(groups.get(group)));
    },

    setDesired(request, call) {
      const own = { ...request };
      return inStep(call, (step) => {
        return carryOut(step, decideDesired(step.groups.get(own.group), own, step));
      });
    },

    apply(request, call) {
      const own = copyOfApply(request);
      return inStep(call, (step) => {
        const { group } = own;
        return carryOut(step, decideApply(step.groups.get(group), own, rowsOf(step, group), step));
      });
    },

    heartbeat(request, call) {
      const { group } = request;
      const own = { group, beats: request.beats.map((beat) => ({ ...beat })) };
      return inStep(call, (step) => {
        return decideBeats(step.groups.get(group), own, rowsOf(step, group), step.nowMs);
      });
    },

    get(group, id, call) {
      return inStep(call, (step) => {
        const record = rowsOf(step, group).newest(id);
        return record === undefined ? undefined : resourceRowOf(record, step.nowMs);
      });
    },

    list(request, call) {
      const { group, limit } = request;
      const states = request.states && [...request.states];
      const after = request.after && { ...request.after };
      return inStep(call, (step) => {
        const wanted = step
          .rows(group)
          .filter(({ state }) => states?.includes(state) ?? true)
          .filter((record) => after === undefined || compareRows(record, after) > 0);
        return wanted
          .sort(compareRows)
          .slice(0, limit)
          .map((record) => resourceRowOf(record, step.nowMs));
      });
    },

    changedSince({ group, cursor, limit }, call) {
      return inStep(call, (step) => {
        const stored = step.groups.get(group);
        const start = changesStart(stored, cursor);
        const changed = step.rows(group).filter(({ sequence }) => sequence > start.afterSequence);
        changed.sort((a, b) => a.sequence - b.sequence);
        return changesAnswer(stored, start, changed.slice(0, limit), step.nowMs);
      });
    },

    staleBefore(request, call) {
      const own = { ...request };
      return inStep(call, (step) => {
        const provisioned = step.rows(own.group).filter(({ state }) => state === "PROVISIONED");
        provisioned.sort((a, b) => silentSince(a) - silentSince(b) || compareRows(a, b));
        return staleAnswer(provisioned, own, step.nowMs);
      });
    },

    purge({ group, ageMs, limit }, call) {
      return inStep(call, (step) => {
        const stored = step.groups.get(group);
        if (stored === undefined) return { purged: 0 };
        const old = step.rows(group).filter((record) => isPurgeable(record, ageMs, step.nowMs));
        const purged = old.slice(0, limit);
        step.groups.set(afterPurge(stored, purged));
        for (const record of purged) step.resources.delete(record);
        return { purged: purged.length };
      });
    },

    listGroups({ limit, after }, call) {
      return inStep(call, ({ groups }) => {
        const names = groups.keys().filter((name) => after === undefined || compareCodePoints(name, after) > 0);
        return names.sort(compareCodePoints).slice(0, limit);
      });
    },
  };
}

function carryOut<Result>({ groups }: KeyedStep, { result, write }: GroupDecision<Result>): Result {
  if (write !== undefined) groups.set(write);
  return result;
}

function rowsOf(step: KeyedStep, group: string): FencedRows {
  return {
    load: (id, incarnation) => step.resources.get({ group, id, incarnation }),
    newest(id) {
      const names = step.resources.keys(`${JSON.stringify([group, id]).slice(0, -1)},`);
      const incarnations = names.map((name) => (JSON.parse(name) as [string, string, number])[2]);
      if (incarnations.length === 0) return undefined;
      return step.resources.get({ group, id, incarnation: Math.max(...incarnations) });
    },
    save: (record: ResourceRecord) => step.resources.set(record),
    loadFence: (name) => step.fences.get({ group, name })?.epoch,
    saveFence: ({ name, epoch }) => step.fences.set({ group, name, epoch }),
  };
}
