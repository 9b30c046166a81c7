import type { LedgerStore, ResourceState } from "../../../src/index.ts";

const CALL = { timeoutMs: 60_000 };

/** Puts rows of a group into a ledger, `<group>-0` first. */
export async function putRows(
  store: LedgerStore,
  group: string,
  count: number,
  state: ResourceState = "PROVISIONED",
): Promise<void> {
  for (let from = 0; from < count; from += 1_000) {
    const ids = Array.from({ length: Math.min(1_000, count - from) }, (_, at) => `${group}-${from + at}`);
    const writes = ids.map((id) => ({
      ...({
        kind: "create",
        after: 0,
        id,
        nonce: `made ${id}`,
        state: "PROVISIONED",
        generation: 1,
        attempt: 1,
      } as const),
    }));
    await store.resources.apply({ group, epoch: 0, writes }, CALL);
  }
  if (state !== "PROVISIONED")
    for (let at = 0; at < count; at += 1) await become(store, group, `${group}-${at}`, state);
}

/** Makes another state of a row. */
export async function become(store: LedgerStore, group: string, id: string, state: ResourceState): Promise<void> {
  const row = await store.resources.get(group, id, CALL);
  if (row === undefined) throw new Error(`there is no ${id}`);
  const { incarnation, version: expectedVersion, generation, attempt } = row;
  const write = {
    kind: "update",
    id,
    incarnation,
    expectedVersion,
    nonce: `${state} ${id}`,
    state,
    generation,
    attempt,
  } as const;
  const applied = await store.resources.apply({ group, epoch: 0, writes: [write] }, CALL);
  if (applied.status !== "decided" || applied.results[0]?.status !== "applied") throw new Error("not applied");
}
