/** What {@link SharedSubscriptions} needs of a client of ioredis. */
interface Subscribing {
  subscribe(channel: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
}

const known = new WeakMap<Subscribing, SharedSubscriptions>();

/**
 * The channels of a client that several stores may listen on. ioredis knows of each only whether it is subscribed, so that
 * the first store that gave one up would take it from the others.
 */
export class SharedSubscriptions {
  readonly #client: Subscribing;
  readonly #holders = new Map<string, Set<object>>();

  private constructor(client: Subscribing) {
    this.#client = client;
  }

  static of(client: Subscribing): SharedSubscriptions {
    const shared = known.get(client) ?? new SharedSubscriptions(client);
    known.set(client, shared);
    return shared;
  }

  /** Asks the server also where another holds the channel: its answer tells that messages are heard from now on. */
  async subscribe(channel: string, holder: object): Promise<void> {
    this.#holders.set(channel, (this.#holders.get(channel) ?? new Set()).add(holder));
    try {
      await this.#client.subscribe(channel);
    } catch (error) {
      this.#leave(channel, holder);
      throw error;
    }
  }

  async unsubscribe(channel: string, holder: object): Promise<void> {
    if (this.#leave(channel, holder)) await this.#client.unsubscribe(channel);
  }

  /** Answers whether nobody holds it any more. */
  #leave(channel: string, holder: object): boolean {
    const holders = this.#holders.get(channel);
    if (!holders?.delete(holder) || holders.size > 0) return false;
    return this.#holders.delete(channel);
  }
}
