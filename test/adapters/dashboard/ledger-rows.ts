import type { LedgerStore, ResourceState } from "../../../src/index.ts";

const CALL = { timeoutMs: 60_000 };

/**
 * Puts rows of a group into a ledger, as a reconciler would have left them.
 * @param rows - their ids, or how many: `<group>-0` first.
 */
export async function putRows(
  store: LedgerStore,
  group: string,
  rows: number | readonly string[],
  state: ResourceState = "PROVISIONED",
): Promise<void> {
  const ids = typeof rows === "number" ? Array.from({ length: rows }, (_, at) => `${group}-${at}`) : rows;
  for (let from = 0; from < ids.length; from += 1_000) {
    const writes = ids.slice(from, from + 1_000).map((id) => ({
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
  if (state !== "PROVISIONED") for (const id of ids) await become(store, group, id, state);
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
