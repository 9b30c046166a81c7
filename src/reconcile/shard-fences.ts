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
  /** Of the shards that were ours at the last raise. */
  #known: ReadonlyMap<string, number> = new Map();
  /** The last raise was a former leader's, whom the ledger refuses anything. */
  #isRefused = false;

  constructor(settings: Terms) {
    this.#settings = settings;
  }

  /** @throws what the store did, or the gate. */
  async raise(): Promise<void> {
    const { store, name: group, leader, shards, clock, random, storeTimeoutMs } = this.#settings;
    const held = shards?.fences() ?? [];
    const fences = held.filter(({ name, epoch }) => this.#known.get(name) !== epoch);
    if (fences.length === 0) return;
    const request = { group, epoch: leader?.epoch ?? 0, writes: [], fences };
    const send = (call: StoreCall) => store.resources.apply(request, call);
    const result = await storeOperation({ clock, random, budgetMs: storeTimeoutMs, send });
    this.#isRefused = result.status === "fenced";
    // Of the others a later holder is known, and what we write under them is refused.
    if (result.status === "decided") this.#known = new Map(held.map(({ name, epoch }) => [name, epoch]));
  }

  /** Whether the slot's shard has come since the last raise: what is known of the slot was read before. */
  isUnraised(id: string): boolean {
    const { shards } = this.#settings;
    const fence = shards?.knownFenceOf(id);
    return !this.#isRefused && fence !== undefined && this.#known.get(fence.name) !== fence.epoch;
  }
}
