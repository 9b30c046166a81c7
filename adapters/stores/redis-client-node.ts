import type { AskRedis, RedisArguments, RedisClient, RedisSubscriber } from "./redis-client.ts";
import { slotOf } from "./redis-slots.ts";

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
  // biome-ignore lint/suspicious/noExplicitAny: what listeners are given depends on the event.
  on(event: string, listener: (...args: any[]) => void): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: as above.
  off(event: string, listener: (...args: any[]) => void): unknown;
}

interface Listening extends NodeRedis {
  connect(): Promise<unknown>;
  destroy(): unknown;
  subscribe(channel: string, listener: (message: string, channel: string) => void): Promise<unknown>;
  unsubscribe(channel: string, listener: (message: string, channel: string) => void): Promise<unknown>;
}

interface Sentinel extends NodeRedis {
  /** Of the primary that it is connected to. */
  getMasterNode(): unknown;
}

interface Cluster extends NodeRedis {
  readonly masters: readonly unknown[];
  /** Has gaps while the driver looks for the nodes. */
  readonly slots: readonly ({ readonly master: { readonly address: string } } | undefined)[];
  nodeClient(node: unknown): Promise<NodeRedis> | NodeRedis;
}

type Kind = "client" | "pool" | "sentinel" | "cluster";

/** Whether it is a client of `redis` 5 or later: those before had no type mapping. */
export function isNodeRedis(client: unknown): client is NodeRedis {
  if (typeof client !== "object" || client === null) return false;
  const methods = ["sendCommand", "multi", "withTypeMapping", "on", "off"];
  return typeof member(client, "isOpen") === "boolean" && methods.every((name) => has(client, name));
}

/** {@link RedisClient} on `redis`: a client, a pool, Sentinel or Cluster. */
export class NodeRedisClient implements RedisClient {
  readonly topology: RedisClient["topology"];
  readonly isPool: boolean;
  readonly #client: NodeRedis;
  readonly #kind: Kind;
  readonly #onReady = new Set<() => void>();
  /** Of Sentinel: what the driver holds until it has found a primary. */
  #search: Promise<unknown> | undefined;
  /** Of Sentinel: calls that follow one that is to get the driver's lease first. */
  #followers: (() => void)[] | undefined;
  #wasOpen = false;

  constructor(client: NodeRedis) {
    this.#client = client;
    this.#kind = kindOf(client);
    this.isPool = this.#kind === "pool";
    this.topology = this.#kind === "sentinel" || this.#kind === "cluster" ? this.#kind : "server";
    if (has(client, "subscribe")) {
      this.listen = (onMessage) => subscriberOn(client as Listening, Promise.resolve(), onMessage, async () => {});
    }
    if (this.#kind !== "pool" && this.#kind !== "cluster" && has(client, "duplicate")) {
      this.duplicate = (onMessage) => duplicateOf(client, {}, onMessage);
    } else if (has(client, "duplicate")) {
      // One node is enough to listen.
      this.duplicate = (onMessage) => duplicateOf(client, { minimizeConnections: true }, onMessage);
    }
  }

  listen?: (onMessage: (channel: string) => void) => RedisSubscriber;
  duplicate?: (onMessage: (channel: string) => void) => RedisSubscriber;

  get state(): RedisClient["state"] {
    const { isOpen, isReady } = this.#client;
    if (!isOpen) return this.#wasOpen ? "closed" : "unconnected";
    this.#wasOpen = true;
    if (this.#kind === "sentinel" && (this.#client as Sentinel).getMasterNode() === undefined) {
      this.#findPrimary();
      return "connecting";
    }
    // Pools and clusters look for a server that is there when something is sent.
    return this.#kind !== "client" || isReady ? "ready" : "connecting";
  }

  on(event: string, listener: (error?: unknown) => void): void {
    this.#client.on(event, listener);
    if (event === "ready") this.#onReady.add(listener);
  }

  off(event: string, listener: (error?: unknown) => void): void {
    this.#client.off(event, listener);
    this.#onReady.delete(listener);
  }

  send(key: string, args: RedisArguments, abortSignal: AbortSignal): Promise<unknown> {
    // Its own timeout would only add a second timer to each call: it ends no later than ours.
    const options = { typeMapping: AS_BUFFERS, abortSignal, timeout: undefined };
    switch (this.#kind) {
      case "cluster":
        return this.#client.sendCommand(key, false, args, options);
      case "sentinel":
        return this.#sharingLease(() => this.#client.sendCommand(false, args, options));
      default:
        return this.#client.sendCommand(args, options);
    }
  }

  async sendTogether(key: string, commands: readonly RedisArguments[]): Promise<PromiseSettledResult<unknown>[]> {
    if (this.#kind === "cluster") return this.#sendToNodeOf(key, commands);
    const multi = this.#client.multi();
    for (const args of commands) {
      if (this.#kind === "sentinel") multi.addCommand(false, args);
      else multi.addCommand(args);
    }
    const send = (): Promise<unknown[]> => multi.execAsPipeline();
    const answers = await (this.#kind === "sentinel" ? this.#sharingLease(send) : send());
    return answers.map((value) => ({ status: "fulfilled", value }));
  }

  nodeOf(key: string): string {
    if (this.#kind !== "cluster") return "";
    return (this.#client as Cluster).slots[slotOf(key)]?.master.address ?? "";
  }

  primaries(): readonly AskRedis[] {
    if (this.#kind !== "cluster") return [(args) => this.send("", args, new AbortController().signal)];
    const cluster = this.#client as Cluster;
    return cluster.masters.map((node) => async (args) => (await cluster.nodeClient(node)).sendCommand(args));
  }

  /** A pipeline of the driver's would fail as a whole for one key that has moved. */
  async #sendToNodeOf(key: string, commands: readonly RedisArguments[]): Promise<PromiseSettledResult<unknown>[]> {
    const cluster = this.#client as Cluster;
    // After what this turn has sent before, which the driver writes some promises later.
    await undefined;
    await new Promise<void>((resolve) => process.nextTick(resolve));
    const master = cluster.slots[slotOf(key)]?.master;
    if (master === undefined) throw new Error("no node is known for the key's slot");
    const node = await cluster.nodeClient(master);
    // Together: when the connection is lost, none of them goes over the next one.
    const options = { chainId: Symbol("evenkeel"), timeout: undefined };
    return Promise.allSettled(commands.map((args) => node.sendCommand(args, options)));
  }

  /**
   * A Sentinel's client looks for a primary only when something is sent, and holds all that is sent until it has one: then it
   * would carry out at once what nobody waits for any more, in front of what somebody does. So one command waits for all.
   */
  #findPrimary(): void {
    const found = (): void => {
      for (const listener of [...this.#onReady]) listener();
    };
    // Where the driver gives up, the next call has it search again.
    this.#search ??= this.#client
      .sendCommand(false, ["PING"], { timeout: undefined })
      .then(found, () => {})
      .finally(() => {
        this.#search = undefined;
      });
  }

  /**
   * A Sentinel's client takes a lease of a connection for a call, which those that come while it is held share. Those that come
   * before it has been given would wait for leases of their own, one after the other: they are sent right after the first one.
   */
  #sharingLease<T>(ask: () => Promise<T>): Promise<T> {
    if (this.#followers !== undefined) {
      const followers = this.#followers;
      return new Promise((resolve, reject) => followers.push(() => ask().then(resolve, reject)));
    }
    const followers: (() => void)[] = [];
    this.#followers = followers;
    // After all promises that can go on by then, the driver's among them.
    void Promise.resolve().then(() =>
      process.nextTick(() => {
        this.#followers = undefined;
        for (const follow of followers) follow();
      }),
    );
    return ask();
  }
}

function duplicateOf(client: NodeRedis, options: object, onMessage: (channel: string) => void): RedisSubscriber {
  const own = (client as unknown as { duplicate(options: object): Listening }).duplicate(options);
  // It connects again by itself, and an emitter without a listener for errors would end the process.
  own.on("error", () => {});
  const close = kindOf(client) === "client" ? closerOf(own) : () => destroy(own);
  // While the server is away this may take for ever: only `close` ends it then.
  return subscriberOn(own, own.connect(), onMessage, close);
}

/**
 * What closes a client also while it connects. One that is destroyed while its socket is being made forgets the socket, which
 * would stay open: then it is destroyed as soon as the socket is there, or is not.
 */
function closerOf(own: Listening): () => Promise<void> {
  let isDialing = true;
  let isClosed = false;
  const dialed = (): void => {
    isDialing = false;
    if (isClosed) void destroy(own);
  };
  own.on("connect", dialed);
  own.on("error", dialed);
  own.on("reconnecting", () => {
    isDialing = true;
  });
  return async () => {
    isClosed = true;
    if (!isDialing) await destroy(own);
  };
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
  ready: Promise<unknown>,
  onMessage: (channel: string) => void,
  close: () => Promise<void>,
): RedisSubscriber {
  const listener = (_: string, channel: string): void => onMessage(channel);
  ready.catch(() => {});
  return {
    ready,
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
