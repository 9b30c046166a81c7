import type { StoreCall } from "../store.ts";
import { storeOperation } from "../store-operation.ts";
import type { ReconcilerSettings } from "./settings.ts";

type Terms = Pick<
  ReconcilerSettings<never>,
  "store" | "name" | "leader" | "shards" | "clock" | "random" | "storeTimeoutMs"
>;

/**
 * Makes the epochs of the shards that are ours known to the ledger before anything is read from it, so that what a former holder still
 * sends can't change what was read. Costs a store call when shards have come, and none at rest.
 */
export class ShardFences {
  readonly #settings: Terms;
  readonly #known = new Map<string, number>();

  constructor(settings: Terms) {
    this.#settings = settings;
  }

  /** @throws what the store did. */
  async raise(): Promise<void> {
    const { store, name: group, leader, shards, clock, random, storeTimeoutMs } = this.#settings;
    const fences = (shards?.fences() ?? []).filter(({ name, epoch }) => this.#known.get(name) !== epoch);
    if (fences.length === 0) return;
    const request = { group, epoch: leader?.epoch ?? 0, writes: [], fences };
    const send = (call: StoreCall) => store.resources.apply(request, call);
    const result = await storeOperation({ clock, random, budgetMs: storeTimeoutMs, send });
    // Of the others a later holder is known, and what we write under them is refused.
    if (result.status === "decided") for (const { name, epoch } of fences) this.#known.set(name, epoch);
  }
}
