import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { askRedis } from "./ask-redis.ts";
import { type RedisServer, startRedis } from "./redis-server.ts";
import { newFolder } from "./run-folder.ts";
import { ended, endLater, onFreePort, startServerProcess } from "./server-process.ts";
import { until } from "./until.ts";

/** A primary with two replicas, and three Sentinels that watch them. */
export interface RedisSentinel {
  /** Where clients ask for the primary. */
  readonly sentinels: readonly { readonly host: string; readonly port: number }[];
  /** What the Sentinels call the primary. */
  readonly name: "primary";
  /** The primary of the moment, as of the last `failover`, `killPrimary` or `failedOver`. */
  primary(): RedisServer;
  /** The others, also those that were killed. */
  replicas(): readonly RedisServer[];
  /** Has the Sentinels promote a replica although the primary lives; resolves when everyone follows the new one. */
  failover(): Promise<void>;
  /** SIGKILLs the primary; resolves when the new one answers. `restart()` of the killed one makes it a replica. */
  killPrimary(): Promise<void>;
  /** Resolves when the Sentinels have promoted a replica on their own, say after `primary().pause()`. */
  failedOver(): Promise<void>;
  stop(): Promise<void>;
}

/** Less than that, and on a busy machine a replica that has just been promoted passes for dead, and another one is elected. */
const DOWN_AFTER_MS = 1_000;
const REPLICATION = ["--repl-diskless-sync-delay", "0", "--replica-announce-ip", "127.0.0.1"];

/** Starts the trio and its Sentinels, and waits until replication works and every Sentinel knows all of them. */
export async function startSentinel(): Promise<RedisSentinel> {
  const first = await startRedis({ args: REPLICATION });
  const follow = ["--replicaof", "127.0.0.1", String(first.port)];
  const others = await Promise.all([0, 1].map(() => startRedis({ args: [...REPLICATION, ...follow] })));
  const servers = [first, ...others];
  await Promise.all(others.map(({ port }) => until("a replica follows its primary", () => follows(port, first.port))));
  const sentinels = await Promise.all([0, 1, 2].map(() => startOneSentinel(first.port)));
  await until("every Sentinel knows the two others and both replicas", async () => {
    const replies = await Promise.all(sentinels.map(({ port }) => askRedis(port, "SENTINEL MASTER primary")));
    return replies.every((reply) => countIn(reply, "num-slaves") === 2 && countIn(reply, "num-other-sentinels") === 2);
  });

  let primary = first;
  const sentinel: RedisSentinel = {
    sentinels: sentinels.map(({ port }) => ({ host: "127.0.0.1", port })),
    name: "primary",
    primary: () => primary,
    replicas: () => servers.filter((server) => server !== primary),
    async failover() {
      const asked = sentinels[0]?.port as number;
      await until("a Sentinel fails over", async () => {
        if ((await primaryOf(asked)) !== primary.port) return true;
        // It gives up a failover that takes longer than its timeout, and begins none anew by itself while the primary lives.
        await askRedis(asked, "SENTINEL FAILOVER primary");
        return false;
      });
      await sentinel.failedOver();
      await until("the others follow the new primary", async () => {
        const following = await Promise.all(sentinel.replicas().map(({ port }) => follows(port, primary.port)));
        return following.every(Boolean);
      });
    },
    async killPrimary() {
      await primary.kill();
      await sentinel.failedOver();
    },
    async failedOver() {
      let next: RedisServer | undefined;
      await until("every Sentinel names the same new primary, and it answers as one", async () => {
        const ports = new Set(await Promise.all(sentinels.map(({ port }) => primaryOf(port))));
        next = servers.find(({ port }) => ports.size === 1 && ports.has(port) && port !== primary.port);
        return next !== undefined && (await askRedis(next.port, "ROLE")).includes("master");
      });
      primary = next as RedisServer;
    },
    async stop() {
      await Promise.all([...servers, ...sentinels].map((server) => server.stop()));
    },
  };
  return sentinel;
}

async function startOneSentinel(primaryPort: number): Promise<{ readonly port: number; stop(): Promise<void> }> {
  const folder = await newFolder("sentinel");
  const { port, process } = await onFreePort(async (port) => {
    // Sentinels write what they learn into their file.
    const file = join(folder, "sentinel.conf");
    const settings = [
      `port ${port}`,
      ...["bind 127.0.0.1", "protected-mode no", `dir ${folder}`, "sentinel announce-ip 127.0.0.1"],
      `sentinel monitor primary 127.0.0.1 ${primaryPort} 2`,
      `sentinel down-after-milliseconds primary ${DOWN_AFTER_MS}`,
      // A failover begins no sooner than twice this after the last one.
      "sentinel failover-timeout primary 1500",
    ];
    await writeFile(file, settings.join("\n"));
    const process = await startServerProcess({
      command: "redis-server",
      args: [file, "--sentinel", "--set-proc-title", "no"],
      folder,
      ready: async () => (await askRedis(port, "PING")).startsWith("+PONG"),
    });
    return { port, process };
  });
  // Where it knows these (Redis 7): look around more often than every 2 to 10 s, and act again sooner than 30 s after the machine stood
  // still for two.
  await askRedis(port, "SENTINEL DEBUG INFO-PERIOD 200 PUBLISH-PERIOD 200 ASK-PERIOD 200 TILT-PERIOD 1000");
  const server = {
    port,
    async stop() {
      process.signal("SIGKILL");
      await process.ended;
      await rm(folder, { recursive: true, force: true });
      ended(server);
    },
  };
  endLater(server);
  return server;
}

async function follows(port: number, primaryPort: number): Promise<boolean> {
  const info = await askRedis(port, "INFO replication");
  return info.includes("master_link_status:up") && info.includes(`master_port:${primaryPort}\r`);
}

async function primaryOf(sentinelPort: number): Promise<number> {
  const reply = await askRedis(sentinelPort, "SENTINEL GET-MASTER-ADDR-BY-NAME primary");
  return Number(/127\.0\.0\.1\r\n\$\d+\r\n(\d+)/.exec(reply)?.[1]);
}

/** A number in a reply of names and values. */
function countIn(reply: string, name: string): number {
  return Number(new RegExp(`\r\n${name}\r\n\\$\\d+\r\n(\\d+)`).exec(reply)?.[1]);
}
