import type { RedisSubscriber } from "./redis-client.ts";
import { Watchers } from "./watchers.ts";

export interface RedisWakeupsOptions {
  /** The channel of a record, and the record of a channel. */
  readonly channelOf: (id: string) => string;
  /** Opens what is listened on, on first use. Absent where there is nothing to listen on. */
  readonly open?: ((onMessage: (channel: string) => void) => RedisSubscriber) | undefined;
}

/**
 * Wakes those who wait for a record: at once where this process settles it, and by pub/sub where another does. A message is
 * a hint that may be lost, and so is everything that fails here.
 */
export class RedisWakeups {
  readonly #options: RedisWakeupsOptions;
  readonly #watchers = new Watchers();
  /** How many watch each channel, and which record it tells of. */
  readonly #channels = new Map<string, { readonly id: string; watching: number }>();
  /** What is subscribed now, or will be by what was asked. */
  readonly #subscribed = new Set<string>();
  /** Settles after everything that was asked of the subscriber so far, so that it is asked in order. */
  #asked: Promise<unknown> = Promise.resolve();
  #subscriber: RedisSubscriber | undefined;
  #closed = false;

  constructor(options: RedisWakeupsOptions) {
    this.#options = options;
  }

  watch(id: string, wake: () => void): () => void {
    const stop = this.#watchers.watch(id, wake);
    if (this.#options.open === undefined || this.#closed) return stop;
    const channel = this.#options.channelOf(id);
    const known = this.#channels.get(channel);
    if (known === undefined) {
      this.#channels.set(channel, { id, watching: 1 });
      this.#align(channel);
    } else known.watching += 1;
    let stopped = false;
    return () => {
      if (stopped) return;
      stopped = true;
      stop();
      const entry = this.#channels.get(channel);
      if (entry === undefined) return;
      entry.watching -= 1;
      if (entry.watching > 0) return;
      this.#channels.delete(channel);
      this.#align(channel);
    };
  }

  wake(id: string): void {
    this.#watchers.wake(id);
  }

  /** Ends all listening, and closes what it opened. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const listened = [...this.#subscribed];
    this.#channels.clear();
    const subscriber = this.#subscriber;
    if (subscriber === undefined) return;
    // Not awaited: it may be that nobody answers any more. A connection of ours ends with all that is on it.
    for (const channel of listened) void quietly(() => subscriber.unsubscribe(channel));
    await quietly(() => subscriber.close());
  }

  /** Subscribes to a channel or gives it up, as it is watched by then. One that is given up at once is never asked for. */
  #align(channel: string): void {
    const align = async (): Promise<void> => {
      const wanted = this.#channels.has(channel);
      if (this.#closed || wanted === this.#subscribed.has(channel)) return;
      const subscriber = await this.#open();
      if (this.#closed || subscriber === undefined) return;
      if (wanted) {
        this.#subscribed.add(channel);
        // Not awaited: while the connection is down it may take for ever, and both drivers do it once it is back.
        subscriber.subscribe(channel).then(
          // What was settled before was not heard.
          () => this.#heard(channel),
          () => this.#subscribed.delete(channel),
        );
      } else {
        this.#subscribed.delete(channel);
        void quietly(() => subscriber.unsubscribe(channel));
      }
    };
    this.#asked = this.#asked.then(() => quietly(align));
  }

  #heard(channel: string): void {
    const entry = this.#channels.get(channel);
    if (entry !== undefined) this.#watchers.wake(entry.id);
  }

  async #open(): Promise<RedisSubscriber | undefined> {
    this.#subscriber ??= this.#options.open?.((channel) => this.#heard(channel));
    const subscriber = this.#subscriber;
    try {
      await subscriber?.ready;
      return subscriber;
    } catch {
      // The next one who watches tries again.
      this.#subscriber = undefined;
      await subscriber?.close();
      return undefined;
    }
  }
}

/** A lost hint costs a poll, and nobody waits for what fails here. */
async function quietly(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch {
    // It may be closed, or no good for listening.
  }
}
