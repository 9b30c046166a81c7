import { askRedis } from "./ask-redis.ts";
import { type RedisServer, startRedis } from "./redis-server.ts";
import { onFreePort } from "./server-process.ts";
import { until } from "./until.ts";

/** A cluster of three primaries with a replica each. */
export interface RedisCluster {
  readonly nodes: readonly { readonly host: string; readonly port: number }[];
  readonly servers: readonly RedisServer[];
  /** The server that is the primary of a key's slot now. */
  primaryOf(key: string): Promise<RedisServer>;
  /** The server that is the replica of a key's slot now. */
  replicaOf(key: string): Promise<RedisServer>;
  /** Makes the replica of a key's slot its primary while both live; resolves when every node knows. Defaults to `a`. */
  failover(key?: string): Promise<void>;
  /** SIGKILLs the primary of a key's slot; resolves when its replica has taken over and every node knows. */
  killPrimaryOf(key: string): Promise<void>;
  stop(): Promise<void>;
}

interface Node {
  readonly server: RedisServer;
  readonly busPort: number;
}

/** One line of CLUSTER NODES. */
interface View {
  readonly id: string;
  readonly port: number;
  readonly primaryId: string;
  readonly slots: readonly (readonly [first: number, last: number])[];
}

const SLOTS = 16_384;
const NODE_TIMEOUT_MS = 1_000;
const GIVES_UP_AFTER_MS = 6_000;

/** Starts six nodes, makes them a cluster, and waits until every node says that it works and every replica follows. */
export async function startRedisCluster(): Promise<RedisCluster> {
  const all = await Promise.all(Array.from({ length: 6 }, startNode));
  await formCluster(all);
  const servers = all.map(({ server }) => server);
  const viewOf = async (key: string): Promise<{ primary: RedisServer; replica: RedisServer | undefined }> => {
    const { port } = await firstAnswering(servers);
    const slot = Number(/:(\d+)/.exec(await askRedis(port, `CLUSTER KEYSLOT ${key}`))?.[1]);
    const views = parseNodes(await askRedis(port, "CLUSTER NODES"));
    const primary = views.find(({ slots }) => slots.some(([first, last]) => first <= slot && slot <= last));
    const replica = views.find(({ primaryId }) => primaryId === primary?.id);
    const serverOf = (view: View | undefined) => servers.find((server) => server.port === view?.port);
    return { primary: serverOf(primary) as RedisServer, replica: serverOf(replica) };
  };
  const known = (key: string, before: RedisServer): Promise<void> =>
    until("every node knows the new primary", async () => {
      const { primary } = await viewOf(key);
      return primary !== before && (await isWhole(servers, before)) && (await agree(servers, primary));
    });
  /** The replica of a key's slot, once it follows: one that never has may not be elected. */
  const following = async (key: string): Promise<RedisServer> => {
    const replica = await cluster.replicaOf(key);
    await until("the replica follows", async () => {
      return (await askRedis(replica.port, "INFO replication")).includes("master_link_status:up");
    });
    return replica;
  };

  const cluster: RedisCluster = {
    nodes: servers.map(({ port }) => ({ host: "127.0.0.1", port })),
    servers,
    primaryOf: async (key) => (await viewOf(key)).primary,
    async replicaOf(key) {
      // Right after a failover nobody may have told yet that the old primary is one.
      let found: RedisServer | undefined;
      await until("the slot has a replica", async () => {
        found = (await viewOf(key)).replica;
        return found !== undefined;
      });
      return found as RedisServer;
    },
    async failover(key = "a") {
      const before = await cluster.primaryOf(key);
      const replica = await following(key);
      let askedAt = Number.NEGATIVE_INFINITY;
      await until("the replica takes over", async () => {
        if ((await viewOf(key)).primary !== before) return true;
        // A replica gives up after five seconds, and begins anew when it is asked again before.
        if (performance.now() - askedAt < GIVES_UP_AFTER_MS) return false;
        const reply = await askRedis(replica.port, "CLUSTER FAILOVER");
        if (!reply.startsWith("+OK")) throw new Error(reply.trim());
        askedAt = performance.now();
        return false;
      });
      await known(key, before);
      await following(key);
    },
    async killPrimaryOf(key) {
      const before = await cluster.primaryOf(key);
      await following(key);
      await before.kill();
      await known(key, before);
    },
    async stop() {
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
  return cluster;
}

function startNode(): Promise<Node> {
  // The customary port + 10000 may lie beyond the last port.
  return onFreePort(async (busPort) => {
    const server = await startRedis({
      args: [
        ...["--cluster-enabled", "yes", "--cluster-node-timeout", String(NODE_TIMEOUT_MS)],
        ...["--cluster-port", String(busPort), "--cluster-announce-ip", "127.0.0.1"],
        ...["--repl-diskless-sync-delay", "0"],
      ],
    });
    return { server, busPort };
  });
}

async function formCluster(all: readonly Node[]): Promise<void> {
  const [first, ...others] = all as [Node, ...Node[]];
  const primaries = all.slice(0, 3);
  const share = Math.ceil(SLOTS / primaries.length);
  await Promise.all(
    primaries.map(async ({ server }, index) => {
      const own = Array.from({ length: share }, (_, i) => index * share + i).filter((slot) => slot < SLOTS);
      await must(server.port, `CLUSTER ADDSLOTS ${own.join(" ")}`);
      await must(server.port, `CLUSTER SET-CONFIG-EPOCH ${index + 1}`);
    }),
  );
  for (const { server } of others) {
    await must(server.port, `CLUSTER MEET 127.0.0.1 ${first.server.port} ${first.busPort}`);
  }
  const servers = all.map(({ server }) => server);
  await until("every node knows every other", async () => {
    const replies = await Promise.all(servers.map(({ port }) => askRedis(port, "CLUSTER NODES")));
    return replies.every((reply) => parseNodes(reply).length === all.length && !reply.includes("handshake"));
  });
  await Promise.all(
    all.slice(3).map(async ({ server }, index) => {
      const id = /[0-9a-f]{40}/.exec(await askRedis((primaries[index] as Node).server.port, "CLUSTER MYID"))?.[0];
      await must(server.port, `CLUSTER REPLICATE ${id}`);
    }),
  );
  await until("the cluster works and every replica follows", async () => {
    const links = await Promise.all(all.slice(3).map(({ server }) => askRedis(server.port, "INFO replication")));
    const views = await Promise.all(servers.map(({ port }) => askRedis(port, "CLUSTER NODES")));
    return (
      (await isWhole(servers)) &&
      links.every((info) => info.includes("master_link_status:up")) &&
      // Of every node: clients ask any of them who the replicas are.
      views.every((view) => view.match(/ (myself,)?slave /g)?.length === 3)
    );
  });
}

async function must(port: number, command: string): Promise<void> {
  const reply = await askRedis(port, command);
  if (!reply.startsWith("+OK")) throw new Error(`${command.slice(0, 40)}: ${reply.trim()}`);
}

async function isWhole(servers: readonly RedisServer[], except?: RedisServer): Promise<boolean> {
  const asked = servers.filter((server) => server !== except);
  const infos = await Promise.all(asked.map(({ port }) => askRedis(port, "CLUSTER INFO").catch(() => "")));
  // A node that was killed before doesn't answer and isn't asked for its view.
  return infos.every((info) => info === "" || info.includes("cluster_state:ok"));
}

/** Whether every node that answers takes this server for a primary. */
async function agree(servers: readonly RedisServer[], primary: RedisServer): Promise<boolean> {
  const views = await Promise.all(servers.map(({ port }) => askRedis(port, "CLUSTER NODES").catch(() => "")));
  return views.every((view) => view === "" || parseNodes(view).find(({ port }) => port === primary.port)?.slots.length);
}

async function firstAnswering(servers: readonly RedisServer[]): Promise<RedisServer> {
  return Promise.any(servers.map((server) => askRedis(server.port, "PING").then(() => server)));
}

function parseNodes(reply: string): View[] {
  return [...reply.matchAll(/^([0-9a-f]{40}) 127\.0\.0\.1:(\d+)@\S+ (\S+) (\S+) \S+ \S+ \S+ \S+(.*)$/gm)].map(
    ([, id = "", port, , primaryId = "", slots = ""]) => ({
      id,
      port: Number(port),
      primaryId,
      slots: [...slots.matchAll(/ (\d+)(?:-(\d+))?(?= |\r|$)/g)].map(
        ([, first, last]) => [Number(first), Number(last ?? first)] as const,
      ),
    }),
  );
}
