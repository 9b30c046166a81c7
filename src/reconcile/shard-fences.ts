import { isEvenkeelError } from "../errors.ts";
import type { Fence, StoreCall } from "../store.ts";
import { storeOperation } from "../store-operation.ts";
import type { ReconcilerSettings } from "./settings.ts";

/** More in one step would hold other writers of the group up. */
const MOST_A_BATCH = 1_000;

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

  /**
   * @returns what of the ledger can't be read: the slots of those shards are not acted on.
   * @throws what else the store did, or the gate.
   */
  async raise(): Promise<unknown[]> {
    const held = this.#settings.shards?.fences() ?? [];
    const isKnown = ({ name, epoch }: Fence): boolean => this.#known.get(name) === epoch;
    const known = held.filter(isKnown);
    const fences = held.filter((fence) => !isKnown(fence));
    const errors: unknown[] = [];
    for (let from = 0; from < fences.length; from += MOST_A_BATCH)
      known.push(...(await this.#raise(fences.slice(from, from + MOST_A_BATCH), errors)));
    if (fences.length > 0) this.#known = new Map(known.map(({ name, epoch }) => [name, epoch]));
    return errors;
  }

  /** @returns those that the ledger knows now. Of some it may know a later holder: what we write under them is refused. */
  async #raise(fences: readonly Fence[], errors: unknown[]): Promise<readonly Fence[]> {
    const { store, name: group, leader, clock, random, storeTimeoutMs } = this.#settings;
    const request = { group, epoch: leader?.epoch ?? 0, writes: [], fences };
    const send = (call: StoreCall) => store.resources.apply(request, call);
    try {
      const result = await storeOperation({ clock, random, budgetMs: storeTimeoutMs, send });
      this.#isRefused = result.status === "fenced";
      return result.status === "decided" ? fences : [];
    } catch (error) {
      if (!isEvenkeelError(error) || error.code !== "RECORD_CORRUPT") throw error;
      if (fences.length === 1) {
        errors.push(error);
        return [];
      }
      const middle = fences.length >>> 1;
      return [
        ...(await this.#raise(fences.slice(0, middle), errors)),
        ...(await this.#raise(fences.slice(middle), errors)),
      ];
    }
  }

  /** Whether the slot's shard has come since the last raise: what is known of the slot was read before. */
  isUnraised(id: string): boolean {
    const { shards } = this.#settings;
    const fence = shards?.knownFenceOf(id);
    return !this.#isRefused && fence !== undefined && this.#known.get(fence.name) !== fence.epoch;
  }
}
