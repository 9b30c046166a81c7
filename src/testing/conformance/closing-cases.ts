import { strict as assert } from "node:assert";
import { assertUnavailable, type ConformanceCases } from "./bench.ts";
import { ResourceBench } from "./resource-bench.ts";

/** {@link LedgerStore.close}. */
export const closingCases: ConformanceCases = {
  "may be closed twice, also at once": async (bench) => {
    await bench.hold();
    await Promise.all([bench.store.close(), bench.store.close()]);
    await bench.store.close();
  },

  "may be closed before it was ever used": async (bench) => {
    await bench.store.close();
    await assertUnavailable(bench.claim());
  },

  "refuses every call after it is closed": async (bench) => {
    const { holder } = await bench.hold();
    await bench.store.close();
    await assertUnavailable(bench.claim());
    await assertUnavailable(bench.renew(holder));
    await assertUnavailable(bench.complete(holder));
    await assertUnavailable(bench.forget(holder));
    await assertUnavailable(bench.step(holder, 0, "late"));
    await assertUnavailable(bench.get());
    await assertUnavailable(bench.executions.list({ limit: 1 }, bench.call));
    await assertUnavailable(bench.executions.seize(bench.seizure(holder.token), bench.call));
    await assertUnavailable(bench.executions.recent({ limit: 1 }, bench.call));
    await assertUnavailable(bench.executions.purge({ limit: 1 }, bench.call));
    await assertUnavailable(bench.executions.countExpired(bench.call));
  },

  "refuses every call about resources after it is closed": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.made();
    await bench.store.close();
    await assertUnavailable(ledger.desired());
    await assertUnavailable(ledger.desire("10"));
    await assertUnavailable(ledger.apply([]));
    await assertUnavailable(ledger.beat());
    await assertUnavailable(ledger.get());
    await assertUnavailable(ledger.list());
    await assertUnavailable(ledger.changes());
    await assertUnavailable(ledger.stale());
    await assertUnavailable(ledger.purge());
    await assertUnavailable(ledger.resources.listGroups({ limit: 1 }, bench.call));
  },

  "settles what is under way when it is closed": async (bench) => {
    const claims = Array.from({ length: 8 }, (_, index) => bench.claim({ id: bench.id(`record ${index}`) }));
    const closed = bench.store.close();
    const settled = await Promise.allSettled(claims);
    await closed;
    for (const claim of settled) {
      if (claim.status === "fulfilled") assert.equal(claim.value.status, "acquired");
      else await assertUnavailable(Promise.reject(claim.reason));
    }
  },
};
