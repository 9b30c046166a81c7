/** What a command is made of; the first is its name. */
export type RedisArguments = readonly (string | Buffer)[];

/** A connection on which one listens. Nothing that it fails at is more than a lost hint. */
export interface RedisSubscriber {
  /** Resolves once it can be asked, and rejects when it never will be: then it is of no use any more. */
  readonly ready: Promise<unknown>;
  subscribe(channel: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  /** Also while it is not ready yet: nothing of it stays behind. */
  close(): Promise<void>;
}

/** Asks one server something, out of turn. */
export type AskRedis = (args: RedisArguments) => Promise<unknown>;

/**
 * All that the store needs of a driver. Two classes say it for the two drivers, each for one server, Sentinel and Cluster, so
 * that nothing else of the store knows which one it has.
 */
export interface RedisClient {
  readonly topology: "server" | "sentinel" | "cluster";
  /** Whether what is sent goes over any of several connections to the one server. */
  readonly isPool: boolean;
  /**
   * `ready`: what is sent now is written now. `connecting`: it would wait in a queue of the driver. `closed`: nobody connects
   * any more. `unconnected`: nobody ever did.
   */
  readonly state: "ready" | "connecting" | "closed" | "unconnected";
  /** Adds or removes a listener of the client's own events. */
  on(event: "ready" | "error", listener: (error?: unknown) => void): void;
  off(event: "ready" | "error", listener: (error?: unknown) => void): void;
  /**
   * Sends a command to the primary that has `key`. Bulk strings come back as Buffers. When `signal` aborts, a command that
   * the driver has not written yet never is.
   */
  send(key: string, args: RedisArguments, signal: AbortSignal): Promise<unknown>;
  /**
   * Sends commands one after the other on one connection to the primary that has `key`, and says of each what became of it.
   * Rejects where that is not known.
   */
  sendTogether(key: string, commands: readonly RedisArguments[]): Promise<PromiseSettledResult<unknown>[]>;
  /** Names whose connection to a cluster's node what has this key goes over; elsewhere it is the same for all. */
  nodeOf(key: string): string;
  /** Each primary that is known. */
  primaries(): readonly AskRedis[];
  /** Listens on the client itself, which then is no good for anything else. Absent where it can't listen, as a pool. */
  listen?(onMessage: (channel: string) => void): RedisSubscriber;
  /** Opens a connection of its own like this one's, and listens on it. Absent where the client can't be duplicated. */
  duplicate?(onMessage: (channel: string) => void): RedisSubscriber;
}
