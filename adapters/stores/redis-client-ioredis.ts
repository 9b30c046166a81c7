import type { AskRedis, RedisArguments, RedisClient, RedisSubscriber } from "./redis-client.ts";
import { SharedSubscriptions } from "./redis-shared-subscriptions.ts";
import { slotOf } from "./redis-slots.ts";

type Callback = (error: Error | null | undefined, reply?: unknown) => void;

/** What evenkeel uses of a `Redis` of ioredis. */
export interface Ioredis {
  readonly status: string;
  /** Of a `Redis` behind Sentinels they name them. */
  readonly options?: object;
  // biome-ignore lint/suspicious/noExplicitAny: a command's arguments are typed command by command.
  createBuiltinCommand(command: string): { readonly buffer: (...args: any[]) => Promise<unknown> };
  pipeline(): IoredisPipeline;
  connect(): Promise<unknown>;
  // biome-ignore lint/suspicious/noExplicitAny: what listeners are given depends on the event.
  on(event: string, listener: (...args: any[]) => void): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: as above.
  off(event: string, listener: (...args: any[]) => void): unknown;
}

interface IoredisPipeline {
  callBuffer(command: string, ...args: unknown[]): unknown;
  exec(): Promise<[error: Error | null, reply: unknown][] | null>;
}

interface Listening extends Ioredis {
  subscribe(channel: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  disconnect(): void;
}

/** A call that waits for the end of this turn. */
interface Waiting {
  readonly args: RedisArguments;
  readonly signal: AbortSignal;
  readonly settle: Callback;
}

export function isIoredis(client: unknown): client is Ioredis {
  if (typeof client !== "object" || client === null) return false;
  const members = client as Record<string, unknown>;
  const methods = ["createBuiltinCommand", "pipeline", "connect", "duplicate", "on", "off"];
  return typeof members["status"] === "string" && methods.every((name) => typeof members[name] === "function");
}

/** {@link RedisClient} on ioredis: a `Redis`, also of Sentinel, or a `Cluster`. */
export class IoredisClient implements RedisClient {
  readonly topology: RedisClient["topology"];
  readonly isPool = false;
  readonly #client: Ioredis;
  #batch: Waiting[] = [];

  constructor(client: Ioredis) {
    this.#client = client;
    const isCluster = typeof (client as { nodes?: unknown }).nodes === "function";
    const { sentinels } = (client.options ?? {}) as { sentinels?: unknown };
    const isSentinel = Array.isArray(sentinels);
    this.topology = isCluster ? "cluster" : isSentinel ? "sentinel" : "server";
  }

  get state(): RedisClient["state"] {
    const { status } = this.#client;
    if (status === "ready") return "ready";
    if (status === "end") return "closed";
    // `lazyConnect`: the first use connects.
    if (status === "wait") this.#client.connect().catch(() => {});
    return "connecting";
  }

  on(event: string, listener: (error?: unknown) => void): void {
    this.#client.on(event, listener);
  }

  off(event: string, listener: (error?: unknown) => void): void {
    this.#client.off(event, listener);
  }

  send(_key: string, args: RedisArguments, signal: AbortSignal): Promise<unknown> {
    // A pipeline of a cluster has to stay on one node, and each node has a socket of its own anyway.
    if (this.topology === "cluster") return call(this.#client, args);
    return new Promise((resolve, reject) => {
      const settle: Callback = (error, reply) => (error ? reject(error) : resolve(reply));
      // Each command would be a write to the socket of its own. What one turn asks for goes out together, at its end.
      if (this.#batch.push({ args, signal, settle }) === 1) process.nextTick(() => this.#flush());
    });
  }

  #flush(): void {
    const batch = this.#batch.filter(({ signal }) => !signal.aborted);
    this.#batch = [];
    const [first] = batch;
    if (first === undefined) return;
    if (batch.length === 1) {
      call(this.#client, first.args).then((reply) => first.settle(null, reply), first.settle);
      return;
    }
    const pipeline = this.#client.pipeline();
    for (const { args, settle } of batch) pipeline.callBuffer(String(args[0]), ...args.slice(1), settle);
    pipeline.exec().catch((error: Error) => {
      for (const { settle } of batch) settle(error);
    });
  }

  async sendTogether(_key: string, commands: readonly RedisArguments[]): Promise<PromiseSettledResult<unknown>[]> {
    // After what this turn has sent before.
    this.#flush();
    const pipeline = this.#client.pipeline();
    for (const [command, ...args] of commands) pipeline.callBuffer(String(command), ...args);
    const answers = (await pipeline.exec()) ?? [];
    return answers.map(([reason, value]) => (reason ? { status: "rejected", reason } : { status: "fulfilled", value }));
  }

  nodeOf(key: string): string {
    if (this.topology !== "cluster") return "";
    const { options, slots } = this.#client as unknown as {
      readonly options: { readonly keyPrefix?: unknown };
      readonly slots: readonly (readonly string[] | undefined)[];
    };
    // With the replicas: a pipeline may hold what has the same ones only.
    return slots[slotOf(`${options.keyPrefix ?? ""}${key}`)]?.join(";") ?? "";
  }

  primaries(): readonly AskRedis[] {
    if (this.topology !== "cluster") return [(args) => call(this.#client, args)];
    const nodes = (this.#client as unknown as { nodes(role: "master"): Ioredis[] }).nodes("master");
    return nodes.map((node) => (args) => call(node, args));
  }

  listen(onMessage: (channel: string) => void): RedisSubscriber {
    const client = this.#client as Listening;
    const listener = (channel: string): void => onMessage(channel);
    client.on("message", listener);
    const shared = SharedSubscriptions.of(client);
    return {
      ready: Promise.resolve(),
      subscribe: (channel) => shared.subscribe(channel, listener),
      unsubscribe: (channel) => shared.unsubscribe(channel, listener),
      close: async () => void client.off("message", listener),
    };
  }

  duplicate(onMessage: (channel: string) => void): RedisSubscriber {
    const lasting = { autoResubscribe: true, enableOfflineQueue: true, maxRetriesPerRequest: null };
    const isCluster = this.topology === "cluster";
    const duplicating = this.#client as unknown as { duplicate(...args: unknown[]): Listening };
    const own = isCluster ? duplicating.duplicate([], { enableOfflineQueue: true }) : duplicating.duplicate(lasting);
    own.on("error", () => {});
    own.on("message", (channel: string) => onMessage(channel));
    return {
      ready: Promise.resolve(),
      subscribe: (channel) => own.subscribe(channel),
      unsubscribe: (channel) => own.unsubscribe(channel),
      close: async () => own.disconnect(),
    };
  }
}

/**
 * Sends a command by itself, at once. `callBuffer` would not do: where `enableAutoPipelining` is on, ioredis loses the command's
 * name, and throws where nobody can catch it.
 */
function call(client: Ioredis, [command, ...args]: RedisArguments): Promise<unknown> {
  return client.createBuiltinCommand(String(command)).buffer.call(client, ...args);
}
