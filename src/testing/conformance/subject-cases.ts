import { strict as assert } from "node:assert";
import type { ConformanceCases } from "./bench.ts";

/** What the suite is told about the store has to be so, or cases would be skipped that nobody meant to skip. */
export const subjectCases: ConformanceCases = {
  "gives the hooks that the capabilities name, and no others": async (bench) => {
    const { hooks, damages } = bench.capabilities;
    const named = [...hooks, ...(Object.keys(damages).length === 0 ? [] : ["corrupt"])];
    assert.deepEqual([...bench.hooks].sort(), named.sort(), "create()'s hooks beside capabilities.hooks and .damages");
  },

  "can watch, and complete in transactions, where the capabilities say so": async (bench) => {
    const { hooks, watch } = bench.capabilities;
    if (watch) assert.ok(bench.store.executions.watch !== undefined, "the store has watch");
    if (!hooks.includes("transact")) return;
    assert.ok(bench.store.executions.completeInTransaction !== undefined, "the store has completeInTransaction");
  },
};
