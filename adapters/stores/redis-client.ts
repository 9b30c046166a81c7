/** What a command is made of; the first is its name. */
export type RedisArguments = readonly (string | Buffer)[];

/** A connection on which one listens. Nothing that it fails at is more than a lost hint. */
export interface RedisSubscriber {
  subscribe(channel: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  close(): Promise<void>;
}

/**
 * All that the store needs of a driver. Two classes say it for the two drivers, each for one server, Sentinel and Cluster, so
 * that nothing else of the store knows which one it has.
 */
export interface RedisClient {
  readonly topology: "server" | "sentinel" | "cluster";
  /**
   * `ready`: what is sent now is written now. `connecting`: it would wait in a queue of the driver. `closed`: nobody connects
   * any more. `unconnected`: nobody ever did.
   */
  readonly state: "ready" | "connecting" | "closed" | "unconnected";
  /** Adds or removes a listener of the client's own events. */
  on(event: "ready" | "error", listener: () => void): void;
  off(event: "ready" | "error", listener: () => void): void;
  listens(event: "error"): boolean;
  /**
   * Sends a command to the primary that has `key`. Bulk strings come back as Buffers. When `signal` aborts, a command that
   * the driver has not written yet never is.
   */
  send(key: string, args: RedisArguments, signal: AbortSignal): Promise<unknown>;
  /** Sends commands one after the other on one connection to the primary that has `key`: all of them or an error. */
  sendTogether(key: string, commands: readonly RedisArguments[]): Promise<unknown[]>;
  /** Sends a command to each primary that is known. */
  askPrimaries(args: RedisArguments): Promise<unknown[]>;
  /** Listens on the client itself, which then is no good for anything else. */
  listen(onMessage: (channel: string) => void): RedisSubscriber;
  /** Opens a connection of its own like this one's, and listens on it. Absent where the client can't be duplicated. */
  duplicate?(onMessage: (channel: string) => void): Promise<RedisSubscriber>;
}
