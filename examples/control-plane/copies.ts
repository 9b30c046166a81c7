import { LeaderElector, type LedgerStore } from "evenkeel";
import { electionTimes } from "./election-times.ts";
import type { Settings } from "./settings.ts";
import { writeServers } from "./worker-files.ts";

/** The copies of the control plane that live: where workers can beat. */
export type Copies = ReturnType<typeof createCopies>;

const PREFIX = "copies/";
/** Every beat is answered with the copies: that must not cost a look each. */
const LOOK_EVERY_MS = 1_000;

/** Each copy is known to the others by a lease, whose holder is its URL. */
export function createCopies(store: LedgerStore, { name, leaseMs, workers }: Settings) {
  let membership: LeaderElector | undefined;
  let own: readonly string[] = [];
  let seen: readonly string[] = [];
  let lookAt = Number.NEGATIVE_INFINITY;

  async function look(): Promise<void> {
    const leases = await store.leases.list(PREFIX, { timeoutMs: 1_000 });
    const found = [...new Set([...own, ...leases.map(({ holder }) => holder)])];
    if (found.join() !== seen.join()) writeServers(workers, found);
    seen = found;
  }

  return {
    /** Makes this copy known. */
    join(url: string): void {
      membership = new LeaderElector({ store, name: PREFIX + name, identity: url, ...electionTimes(leaseMs) });
      membership.start();
      own = [url];
      seen = own;
      writeServers(workers, own);
    },

    /** Their URLs, this one's first. As they last were, where the ledger does not say. */
    async servers(): Promise<readonly string[]> {
      if (performance.now() < lookAt) return seen;
      lookAt = performance.now() + LOOK_EVERY_MS;
      await look().catch(() => {});
      return seen;
    },

    leave: async (): Promise<void> => membership?.stop(),
  };
}
