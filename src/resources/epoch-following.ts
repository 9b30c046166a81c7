import { type Clock, Stopwatch } from "../clock.ts";
import { EvenkeelError } from "../errors.ts";
import type { LedgerStore, ResourceStore } from "../store.ts";

/** A leader that is replaced more often than this during one write is a fault that retries don't mend. */
const MOST_EPOCHS = 5;

/**
 * How long an epoch that was learned is sent unasked, in milliseconds. A ledger that was restored from a backup counts epochs from where
 * it was then, and the one of before, sent to it, would shut its leader out for good: so it is not kept for longer than an engine takes to
 * be exchanged. Long enough that of many writes in a row only the first is refused.
 */
const FOLLOWED_FOR_MS = 2_000;

/**
 * A store through which writes of resources carry the highest epoch that the group has seen, whatever epoch they ask for.
 *
 * For writers that are no leaders. What they write is intent (`setDesired`) or guarded by a compare-and-swap (`provision`), so a new
 * leader must not fence them: an API server goes on while the leadership moves elsewhere. They never raise the epoch either, so
 * they fence nobody. The epoch is learned from the store's refusal: asking for it before would bring the whole desired text along.
 */
export function followingEpochs(store: LedgerStore, clock: Clock): LedgerStore {
  const known = new Map<string, { readonly epoch: number; readonly age: Stopwatch }>();

  function knownEpoch(group: string): number {
    const learned = known.get(group);
    return learned !== undefined && learned.age.elapsedMs() < FOLLOWED_FOR_MS ? learned.epoch : 0;
  }

  async function follow<Result extends { readonly status: string }>(
    { group, epoch: own }: { readonly group: string; readonly epoch: number },
    send: (epoch: number) => Promise<Result | { readonly status: "fenced"; readonly epoch: number }>,
  ): Promise<Result | { readonly status: "fenced"; readonly epoch: number }> {
    let epoch = Math.max(own, knownEpoch(group));
    for (let tries = 1; ; tries += 1) {
      const age = new Stopwatch(clock);
      try {
        const result = await send(epoch);
        if (result.status !== "fenced" || !("epoch" in result) || tries === MOST_EPOCHS) return result;
        epoch = result.epoch;
        known.set(group, { epoch, age });
      } catch (error) {
        // Who answers next may be another one.
        known.delete(group);
        throw error;
      }
    }
  }

  const { resources } = store;
  const following: ResourceStore = {
    getDesired: (group, call) => resources.getDesired(group, call),
    setDesired: (request, call) => follow(request, (epoch) => resources.setDesired({ ...request, epoch }, call)),
    apply: (request, call) => follow(request, (epoch) => resources.apply({ ...request, epoch }, call)),
    heartbeat: (request, call) => resources.heartbeat(request, call),
    get: (group, id, call) => resources.get(group, id, call),
    list: (request, call) => resources.list(request, call),
    changedSince: (request, call) => resources.changedSince(request, call),
    staleBefore: (request, call) => resources.staleBefore(request, call),
    purge: (request, call) => resources.purge(request, call),
    listGroups: (request, call) => resources.listGroups(request, call),
  };
  return {
    executions: store.executions,
    resources: following,
    leases: store.leases,
    close: () => store.close(),
  };
}

/** What a writer is told that even the followed epochs refused. */
export function fenced(epoch: number): EvenkeelError {
  return new EvenkeelError("FENCED", `A leader of the group has the higher epoch ${epoch}; nothing was written.`);
}
