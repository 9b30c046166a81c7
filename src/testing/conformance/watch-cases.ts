import { strict as assert } from "node:assert";
import type { Bench, ConformanceCases } from "./bench.ts";

/** {@link ExecutionStore.watch}: hints, where the store can give them. */
export const watchCases: ConformanceCases = {
  "lets watching begin and end, also twice, without a trace": async (bench) => {
    const end = bench.executions.watch?.(bench.id(), () => {});
    end?.();
    end?.();
    await bench.hold();
    assert.equal((await bench.get())?.status, "running");
  },

  "wakes on completion": async (bench) => {
    const { holder } = await bench.hold();
    const { woken, end } = watched(bench);
    await bench.complete(holder);
    await woken;
    end();
  },

  "wakes on release": async (bench) => {
    const { holder } = await bench.hold();
    const { woken, end } = watched(bench);
    await bench.forget(holder);
    await woken;
    end();
  },

  "wakes every watcher of a record, and goes on when one of them ends": async (bench) => {
    const { holder } = await bench.hold();
    const first = watched(bench);
    const second = watched(bench);
    const third = watched(bench);
    second.end();
    second.end();
    await bench.complete(holder);
    await Promise.all([first.woken, third.woken]);
    first.end();
    third.end();
  },
};

function watched(bench: Bench): { woken: Promise<void>; end: () => void } {
  if (!bench.capabilities.watch) return { woken: Promise.resolve(), end: () => {} };
  assert.ok(bench.executions.watch !== undefined, "the store says that it can watch");
  let wake = (): void => {};
  const woken = new Promise<void>((resolve) => {
    wake = resolve;
  });
  return { woken, end: bench.executions.watch(bench.id(), wake) };
}
