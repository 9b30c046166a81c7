/** What a {@link Partition} lets through: everything, or not what goes this way. */
export type PartitionState = "whole" | "requestsCut" | "repliesCut" | "cut";

/**
 * A network split between a client and its store, switched while a test runs. What is cut is silent, as in a real split:
 * the call never settles, and its caller's own timeout has to end it. A call that is under way when its reply is cut has
 * been carried out all the same.
 *
 * @example
 * ```ts
 * const network = new Partition();
 * const store = faultyStore(memoryStore(), { partition: network });
 * network.cut("replies"); // one way: requests arrive, answers don't
 * network.heal();
 * ```
 */
export class Partition {
  #state: PartitionState = "whole";

  get state(): PartitionState {
    return this.#state;
  }

  /** Cuts one way or both; what was cut before and is not named is whole again. */
  cut(what: "requests" | "replies" | "both"): void {
    this.#state = what === "both" ? "cut" : `${what}Cut`;
  }

  /** Lets everything through again. What was lost stays lost. */
  heal(): void {
    this.#state = "whole";
  }

  /** Whether a request that is sent now arrives. */
  get requestsArrive(): boolean {
    return this.#state === "whole" || this.#state === "repliesCut";
  }

  /** Whether a reply that is sent now arrives. */
  get repliesArrive(): boolean {
    return this.#state === "whole" || this.#state === "requestsCut";
  }
}
