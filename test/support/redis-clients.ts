import { Cluster, Redis } from "ioredis";
import { createClient, createCluster, createSentinel } from "redis";
import type { Ioredis, NodeRedis } from "../../adapters/stores/redis.ts";

/** A client of a test's own. */
export interface OpenClient {
  readonly client: NodeRedis | Ioredis;
  close(): Promise<void>;
}

interface Address {
  readonly host: string;
  readonly port: number;
}

const ignore = (): void => {};

/** Opens a client of each driver for one server. Neither gives up while a server is away. */
export const drivers = [
  {
    driver: "redis",
    async open(url: string): Promise<OpenClient> {
      const client = createClient({ url, socket: { reconnectStrategy: () => 50 } });
      await client.on("error", ignore).connect();
      return { client, close: async () => client.destroy() };
    },
  },
  {
    driver: "ioredis",
    async open(url: string): Promise<OpenClient> {
      const client = new Redis(url, { retryStrategy: () => 50, lazyConnect: true });
      await client.on("error", ignore).connect();
      return { client, close: async () => client.disconnect() };
    },
  },
] as const;

/** Opens a client of each driver behind Sentinels. */
export const sentinelDrivers = [
  {
    driver: "redis",
    async open(name: string, sentinels: readonly Address[]): Promise<OpenClient> {
      const client = createSentinel({ name, sentinelRootNodes: [...sentinels] });
      await client.on("error", ignore).connect();
      return { client, close: async () => void (await client.destroy()) };
    },
  },
  {
    driver: "ioredis",
    async open(name: string, sentinels: readonly Address[]): Promise<OpenClient> {
      const client = new Redis({
        name,
        sentinels: [...sentinels],
        lazyConnect: true,
        sentinelRetryStrategy: () => 100,
      });
      await client.on("error", ignore).connect();
      return { client, close: async () => client.disconnect() };
    },
  },
] as const;

/** Opens a client of each driver for a cluster. */
export const clusterDrivers = [
  {
    driver: "redis",
    async open(nodes: readonly Address[]): Promise<OpenClient> {
      const client = createCluster({ rootNodes: nodes.map((socket) => ({ socket })) });
      await client.on("error", ignore).connect();
      return { client, close: async () => client.destroy() };
    },
  },
  {
    driver: "ioredis",
    async open(nodes: readonly Address[]): Promise<OpenClient> {
      const client = new Cluster([...nodes], { lazyConnect: true });
      await client.on("error", ignore).connect();
      return { client, close: async () => client.disconnect() };
    },
  },
] as const;
