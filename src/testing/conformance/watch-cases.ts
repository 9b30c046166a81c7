import { strict as assert } from "node:assert";
import { systemClock } from "../../clock.ts";
import { type Bench, type Conditional, type ConformanceCase, type ConformanceCases, within } from "./bench.ts";

/** By the machine's clock: long enough for a push over a network. */
const LONGEST_WAKE_MS = 2_000;
/** A hint may get lost; a store that loses so many in a row can't watch. */
const MOST_TRIES = 5;

/** {@link ExecutionStore.watch}: hints, where the store can give them. */
export const watchCases: ConformanceCases = {
  "lets watching begin and end, also twice, without a trace": async (bench) => {
    const end = bench.executions.watch?.(bench.id(), () => {});
    end?.();
    end?.();
    await bench.hold();
    assert.equal((await bench.get())?.status, "running");
  },

  "wakes on completion": watching(async (bench) => {
    await wakes(bench, bench, (holder) => bench.complete(holder));
  }),

  "wakes on release, in every mode": watching(async (bench) => {
    await wakes(bench, bench, (holder) => bench.forget(holder));
    await wakes(bench, bench, (holder) => bench.grantRetry(holder));
  }),

  "wakes every watcher of a record, and goes on when one of them ends": watching(async (bench) => {
    await wakes(bench, bench, (holder) => bench.complete(holder), 3);
  }),

  "does not wake who has ended watching": watching(async (bench) => {
    const { holder } = await bench.hold();
    let woken = 0;
    const end = watch(bench, bench.id(), () => {
      woken += 1;
    });
    end();
    await bench.complete(holder);
    await systemClock.sleep(20);
    assert.equal(woken, 0);
  }),

  "wakes on what another store object on the ledger settles": {
    unless: ({ watch, hooks }) => {
      if (watch !== "shared") return "capabilities.watch is not shared";
      return hooks.includes("reopen") ? undefined : "capabilities.hooks has no reopen";
    },
    holds: async (bench) => {
      const other = await bench.reopen();
      await wakes(bench, other, (holder) => other.complete(holder));
      await wakes(bench, other, (holder) => other.forget(holder));
    },
  },
};

function watching(holds: ConformanceCase): Conditional {
  return { unless: ({ watch }) => (watch ? undefined : "capabilities.watch is false"), holds };
}

/** Watches on one bench what is settled on another, until a wake comes. A watch over a network takes a while to begin. */
async function wakes(
  bench: Bench,
  other: Bench,
  settle: (holder: Awaited<ReturnType<Bench["hold"]>>["holder"]) => Promise<unknown>,
  watchers = 1,
): Promise<void> {
  const tries = bench.capabilities.exactTime ? 1 : MOST_TRIES;
  for (let turn = 1; ; turn += 1) {
    const { holder } = await other.hold({ id: bench.nonce().repeat(2) });
    const ends: (() => void)[] = [];
    const woken = Array.from({ length: watchers }, () => {
      return new Promise<void>((resolve) => ends.push(watch(bench, holder.id, resolve)));
    });
    const ended = watch(bench, holder.id, () => {});
    ended();
    ended();
    try {
      if (turn > 1) await systemClock.sleep(100);
      await settle(holder);
      return await within(LONGEST_WAKE_MS, Promise.all(woken).then(nothing), "Every watcher is woken");
    } catch (error) {
      if (turn === tries) throw error;
    } finally {
      for (const end of ends) end();
    }
  }
}

function watch({ executions }: Bench, id: string, wake: () => void): () => void {
  assert.ok(executions.watch !== undefined, "the store says that it can watch");
  return executions.watch(id, wake);
}

function nothing(): void {}
