import type { Clock } from "../../src/clock.ts";
import type { Random } from "../../src/random.ts";
import type { PostgresConnection } from "./postgres-connection.ts";
import { Watchers } from "./watchers.ts";

const FIRST_RECONNECT_MS = 100;
const LONGEST_RECONNECT_MS = 30_000;

export interface PostgresNotificationsOptions {
  readonly connection: PostgresConnection;
  readonly clock: Clock;
  readonly random: Random;
  /** Whether other processes are told, and listened to. */
  readonly listen: boolean;
}

/**
 * Who wants to know when a record is settled, and who tells them: this process at once, others by LISTEN. The connection
 * for it is opened for the first watcher. When it is lost only hints are, and it is opened again.
 */
export class PostgresNotifications {
  readonly #options: PostgresNotificationsOptions;
  readonly #watchers = new Watchers();
  readonly #watched = new Map<string, number>();
  #listening: Promise<void> | undefined;
  #stop: (() => void) | undefined;
  #failures = 0;

  constructor(options: PostgresNotificationsOptions) {
    this.#options = options;
    options.connection.adopt({ close: async () => this.#stop?.() });
  }

  /** The channel on which completions are told; absent where nobody listens. */
  get channel(): string | undefined {
    const { connection, listen } = this.#options;
    return listen ? connection.ledger?.names.channel : undefined;
  }

  watch(id: string, wake: () => void): () => void {
    const end = this.#watchers.watch(id, wake);
    this.#watched.set(id, (this.#watched.get(id) ?? 0) + 1);
    if (this.#options.listen && !this.#options.connection.closed) this.#listening ??= this.#listen();
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      end();
      const others = (this.#watched.get(id) ?? 1) - 1;
      if (others > 0) this.#watched.set(id, others);
      else this.#watched.delete(id);
    };
  }

  wake(id: string): void {
    this.#watchers.wake(id);
  }

  async #listen(): Promise<void> {
    const { connection } = this.#options;
    let lost = false;
    const onLost = (): void => {
      if (lost) return;
      lost = true;
      this.#stop?.();
      this.#stop = undefined;
      this.#listenLater();
    };
    try {
      const { names } = await connection.ready();
      const stop = await connection.driver.listen(names.channel, (id) => this.#watchers.wake(id), onLost);
      if (connection.closed || lost) return stop();
      this.#stop = stop;
      this.#failures = 0;
      // What was settled before we listened is told by nobody any more.
      for (const id of [...this.#watched.keys()]) this.#watchers.wake(id);
    } catch {
      // The watchers look for themselves now and then: a connection that can't be had costs them time and nothing else.
      onLost();
    }
  }

  #listenLater(): void {
    const { connection, clock, random } = this.#options;
    if (connection.closed) return;
    const backoffMs = Math.min(FIRST_RECONNECT_MS * 2 ** this.#failures, LONGEST_RECONNECT_MS) * (0.5 + random.float());
    this.#failures += 1;
    const again = (): void => {
      // Without watchers it waits for the next one.
      this.#listening = this.#watched.size > 0 && !connection.closed ? this.#listen() : undefined;
    };
    clock.setTimer(backoffMs, again, { ref: false });
  }
}
