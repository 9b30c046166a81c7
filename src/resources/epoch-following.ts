import { EvenkeelError } from "../errors.ts";
import type { LedgerStore, ResourceStore } from "../store.ts";

/** A leader that is replaced more often than this during one write is a fault that retries don't mend. */
const MOST_EPOCHS = 5;

/**
 * A store through which writes of resources carry the highest epoch that the group has seen, whatever epoch they ask for.
 *
 * For writers that are no leaders. What they write is intent (`setDesired`) or guarded by a compare-and-swap (`provision`), so a new
 * leader must not fence them: an API server goes on while the leadership moves elsewhere. They never raise the epoch either, so
 * they fence nobody. The epoch is learned from the store's refusal: asking for it before would bring the whole desired text along.
 */
export function followingEpochs(store: LedgerStore): LedgerStore {
  const known = new Map<string, number>();

  async function follow<Result extends { readonly status: string }>(
    request: { readonly group: string; readonly epoch: number },
    send: (epoch: number) => Promise<Result | { readonly status: "fenced"; readonly epoch: number }>,
  ): Promise<Result | { readonly status: "fenced"; readonly epoch: number }> {
    let epoch = Math.max(request.epoch, known.get(request.group) ?? 0);
    for (let tries = 1; ; tries += 1) {
      const result = await send(epoch);
      if (result.status !== "fenced" || !("epoch" in result) || tries === MOST_EPOCHS) return result;
      epoch = result.epoch;
      known.set(request.group, epoch);
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
