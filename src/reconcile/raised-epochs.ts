import { isEvenkeelError } from "../errors.ts";
import type { Fence, StoreCall } from "../store.ts";
import { storeOperation } from "../store-operation.ts";
import type { ReconcilerSettings } from "./settings.ts";

/** More in one step would hold other writers of the group up. */
const MOST_A_BATCH = 1_000;

type Terms = Pick<ReconcilerSettings<never>, "store" | "name" | "shards" | "clock" | "random" | "storeTimeoutMs">;

/**
 * Makes the epoch of a new leadership, and those of the shards that are ours, known to the ledger before anything is read from it, so that
 * what a former leader or holder still sends can't change what was read. Costs a store call when a leadership has begun or shards have
 * come, and none at rest.
 */
export class RaisedEpochs {
  readonly #settings: Terms;
  /** The leader's that the ledger knows; 0 where there is none, which fences nobody. */
  #leader = 0;
  /** Of the shards that were ours at the last raise. */
  #shards: ReadonlyMap<string, number> = new Map();
  #isRefused = false;

  constructor(settings: Terms) {
    this.#settings = settings;
  }

  /**
   * @param epoch - the leader's; 0 without one.
   * @returns what of the ledger can't be read: the slots of those shards are not acted on.
   * @throws what else the store did, or the gate.
   */
  async raise(epoch: number): Promise<unknown[]> {
    const held = this.#settings.shards?.fences() ?? [];
    const isKnown = (fence: Fence): boolean => this.#shards.get(fence.name) === fence.epoch;
    const known = held.filter(isKnown);
    const fences = held.filter((fence) => !isKnown(fence));
    const errors: unknown[] = [];
    this.#isRefused = false;
    for (let from = 0; from < fences.length; from += MOST_A_BATCH)
      known.push(...(await this.#raise(epoch, fences.slice(from, from + MOST_A_BATCH), errors)));
    if (fences.length > 0) this.#shards = new Map(known.map(({ name, epoch }) => [name, epoch]));
    // A new leader's goes with those of the shards; alone where no shard has come, or none that can be read.
    if (epoch !== this.#leader && !this.#isRefused) await this.#send(epoch, []);
    return errors;
  }

  /** Takes in what the ledger says that it knows: it may have lost its last writes since the raise. */
  heard(leader: number): void {
    if (leader < this.#leader) this.#leader = leader;
  }

  /** The last raise was a former leader's, whom the ledger refuses anything. It is asked anew by the next: a ledger may forget. */
  get isRefused(): boolean {
    return this.#isRefused;
  }

  /** @returns those that the ledger knows now. Of some it may know a later holder: what we write under them is refused. */
  async #raise(epoch: number, fences: readonly Fence[], errors: unknown[]): Promise<readonly Fence[]> {
    try {
      return (await this.#send(epoch, fences)) ? fences : [];
    } catch (error) {
      if (!isEvenkeelError(error) || error.code !== "RECORD_CORRUPT") throw error;
      if (fences.length === 1) {
        errors.push(error);
        return [];
      }
      const middle = fences.length >>> 1;
      return [
        ...(await this.#raise(epoch, fences.slice(0, middle), errors)),
        ...(await this.#raise(epoch, fences.slice(middle), errors)),
      ];
    }
  }

  /** @returns whether the ledger knows of no later leader. */
  async #send(epoch: number, fences: readonly Fence[]): Promise<boolean> {
    const { store, name: group, clock, random, storeTimeoutMs } = this.#settings;
    const request = { group, epoch, writes: [], ...(fences.length > 0 ? { fences } : {}) };
    const send = (call: StoreCall) => store.resources.apply(request, call);
    const { status } = await storeOperation({ clock, random, budgetMs: storeTimeoutMs, send });
    this.#isRefused = status === "fenced";
    if (!this.#isRefused) this.#leader = epoch;
    return !this.#isRefused;
  }

  /** Whether the slot's shard has come since the last raise: what is known of the slot was read before. */
  isUnraised(id: string): boolean {
    const { shards } = this.#settings;
    const fence = shards?.knownFenceOf(id);
    return !this.#isRefused && fence !== undefined && this.#shards.get(fence.name) !== fence.epoch;
  }
}
