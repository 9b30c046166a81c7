import type { RedisArguments, RedisClient, RedisSubscriber } from "./redis-client.ts";

/** `$`: bulk strings come as Buffers, since outcomes are bytes. */
const AS_BUFFERS = { 36: Buffer };

/** What evenkeel uses of a client of `redis`; the shape of `sendCommand` and `addCommand` depends on the kind. */
export interface NodeRedis {
  readonly isOpen: boolean;
  readonly isReady?: boolean;
  // biome-ignore lint/suspicious/noExplicitAny: each kind of client has arguments of its own.
  sendCommand(...args: any[]): Promise<unknown>;
  // biome-ignore lint/suspicious/noExplicitAny: as above.
  multi(...args: any[]): any;
  withTypeMapping(mapping: never): unknown;
  on(event: string, listener: () => void): unknown;
  off(event: string, listener: () => void): unknown;
  listenerCount(event: string): number;
}

interface Listening extends NodeRedis {
  connect(): Promise<unknown>;
  destroy(): unknown;
  subscribe(channel: string, listener: (message: string, channel: string) => void): Promise<unknown>;
  unsubscribe(channel: string, listener: (message: string, channel: string) => void): Promise<unknown>;
}

type Kind = "client" | "pool" | "sentinel" | "cluster";

/** Whether it is a client of `redis` 5 or later: those before had no type mapping. */
export function isNodeRedis(client: unknown): client is NodeRedis {
  if (typeof client !== "object" || client === null) return false;
  const methods = ["sendCommand", "multi", "withTypeMapping", "on", "off", "listenerCount"];
  return typeof member(client, "isOpen") === "boolean" && methods.every((name) => has(client, name));
}

/** {@link RedisClient} on `redis`: a client, a pool, Sentinel or Cluster. */
export class NodeRedisClient implements RedisClient {
  readonly topology: RedisClient["topology"];
  readonly #client: NodeRedis;
  readonly #kind: Kind;
  #wasOpen = false;

  constructor(client: NodeRedis) {
    this.#client = client;
    this.#kind = kindOf(client);
    this.topology = this.#kind === "sentinel" || this.#kind === "cluster" ? this.#kind : "server";
    if (this.#kind !== "pool" && this.#kind !== "cluster" && has(client, "duplicate")) {
      this.duplicate = (onMessage) => duplicateOf(client, {}, onMessage);
    } else if (has(client, "duplicate")) {
      // One node is enough to listen.
      this.duplicate = (onMessage) => duplicateOf(client, { minimizeConnections: true }, onMessage);
    }
  }

  duplicate?: (onMessage: (channel: string) => void) => Promise<RedisSubscriber>;

  get state(): RedisClient["state"] {
    const { isOpen, isReady } = this.#client;
    if (!isOpen) return this.#wasOpen ? "closed" : "unconnected";
    this.#wasOpen = true;
    // The others look for a server that is there when something is sent, and a Sentinel's client only then.
    return this.#kind !== "client" || isReady ? "ready" : "connecting";
  }

  on(event: string, listener: () => void): void {
    this.#client.on(event, listener);
  }

  off(event: string, listener: () => void): void {
    this.#client.off(event, listener);
  }

  listens(event: string): boolean {
    return this.#client.listenerCount(event) > 0;
  }

  send(key: string, args: RedisArguments, abortSignal: AbortSignal): Promise<unknown> {
    // Its own timeout would only add a second timer to each call: it ends no later than ours.
    const options = { typeMapping: AS_BUFFERS, abortSignal, timeout: undefined };
    switch (this.#kind) {
      case "cluster":
        return this.#client.sendCommand(key, false, args, options);
      case "sentinel":
        return this.#client.sendCommand(false, args, options);
      default:
        return this.#client.sendCommand(args, options);
    }
  }

  sendTogether(key: string, commands: readonly RedisArguments[]): Promise<unknown[]> {
    const multi = this.#client.multi();
    for (const args of commands) {
      if (this.#kind === "cluster") multi.addCommand(key, false, args);
      else if (this.#kind === "sentinel") multi.addCommand(false, args);
      else multi.addCommand(args);
    }
    return multi.execAsPipeline();
  }

  async askPrimaries(args: RedisArguments): Promise<unknown[]> {
    if (this.#kind !== "cluster") return [await this.send("", args, new AbortController().signal)];
    const cluster = this.#client as unknown as {
      masters: readonly unknown[];
      nodeClient(node: unknown): Promise<NodeRedis> | NodeRedis;
    };
    return Promise.all(cluster.masters.map(async (node) => (await cluster.nodeClient(node)).sendCommand(args)));
  }

  listen(onMessage: (channel: string) => void): RedisSubscriber {
    return subscriberOn(this.#client as Listening, onMessage, async () => {});
  }
}

async function duplicateOf(
  client: NodeRedis,
  options: object,
  onMessage: (channel: string) => void,
): Promise<RedisSubscriber> {
  const own = (client as unknown as { duplicate(options: object): Listening }).duplicate(options);
  // It connects again by itself, and an emitter without a listener for errors would end the process.
  own.on("error", () => {});
  try {
    await own.connect();
  } catch (error) {
    await destroy(own);
    throw error;
  }
  return subscriberOn(own, onMessage, () => destroy(own));
}

async function destroy(client: Listening): Promise<void> {
  try {
    await client.destroy();
  } catch {
    // It was closed already.
  }
}

function subscriberOn(
  client: Listening,
  onMessage: (channel: string) => void,
  close: () => Promise<void>,
): RedisSubscriber {
  const listener = (_: string, channel: string): void => onMessage(channel);
  return {
    subscribe: (channel) => client.subscribe(channel, listener),
    unsubscribe: (channel) => client.unsubscribe(channel, listener),
    close,
  };
}

function kindOf(client: NodeRedis): Kind {
  if (has(client, "nodeClient")) return "cluster";
  if (has(client, "getSentinelNode")) return "sentinel";
  return has(client, "execute") ? "pool" : "client";
}

function has(client: object, name: string): boolean {
  return typeof member(client, name) === "function";
}

function member(client: object, name: string): unknown {
  return (client as Record<string, unknown>)[name];
}
