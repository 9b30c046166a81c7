import { rm } from "node:fs/promises";
import { askRedis } from "./ask-redis.ts";
import { newFolder } from "./run-folder.ts";
import { ended, endLater, onFreePort, type ServerProcess, startServerProcess } from "./server-process.ts";

/** A Redis of a test's own, on loopback, in its own folder. */
export interface RedisServer {
  readonly url: string;
  readonly port: number;
  /** Of the process that runs now; another one after a restart. */
  readonly pid: number;
  /** SIGSTOP: connections stay open and nothing answers. */
  pause(): void;
  /** SIGCONT: what was asked meanwhile is answered. */
  resume(): void;
  /** SIGKILL, and waits until the process is gone. */
  kill(): Promise<void>;
  /** Kills it if it runs, and starts it on the same port and folder. */
  restart(): Promise<void>;
  /** Ends it and removes its folder. A second call does nothing. */
  stop(): Promise<void>;
}

/** Settings that a user of `durability` would have: what was answered is on the disk, and nothing is evicted. */
const SETTINGS = [
  ...["--bind", "127.0.0.1", "--daemonize", "no", "--save", "", "--set-proc-title", "no"],
  ...["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"],
];

/**
 * Starts a `redis-server` of the PATH on a free port, with `appendfsync always`, so that a kill and a restart lose nothing that
 * was answered.
 *
 * @param options `args` are command line settings that come after ours and win, such as `["--appendonly", "no"]`.
 */
export async function startRedis(options: { readonly args?: readonly string[] } = {}): Promise<RedisServer> {
  const folder = await newFolder("redis");
  const start = (port: number): Promise<ServerProcess> =>
    startServerProcess({
      command: "redis-server",
      args: [...SETTINGS, "--port", String(port), "--dir", folder, ...(options.args ?? [])],
      folder,
      // With a password among the settings it asks for that, and answers all the same.
      ready: async () => /^(\+PONG|-NOAUTH)/.test(await askRedis(port, "PING")),
    });
  const { port, process: first } = await onFreePort(async (port) => ({ port, process: await start(port) }));
  let process = first;
  const server: RedisServer = {
    url: `redis://127.0.0.1:${port}`,
    port,
    get pid() {
      return process.pid;
    },
    pause: () => process.signal("SIGSTOP"),
    resume: () => process.signal("SIGCONT"),
    async kill() {
      process.signal("SIGKILL");
      await process.ended;
    },
    async restart() {
      await server.kill();
      process = await start(port);
    },
    async stop() {
      await server.kill();
      await rm(folder, { recursive: true, force: true });
      ended(server);
    },
  };
  endLater(server);
  return server;
}
