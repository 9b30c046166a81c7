import { createClient } from "redis";
import { afterEach, expect, it } from "vitest";
import { askRedis } from "../support/ask-redis.ts";
import { isAlive } from "../support/child-processes.ts";
import { describeRedisServers } from "../support/engines.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { endServers } from "../support/server-process.ts";

afterEach(endServers);

describeRedisServers("a Redis of a test's own", () => {
  const connected = async (server: RedisServer) => {
    const client = createClient({ url: server.url });
    client.on("error", () => {});
    return client.connect();
  };

  it("keeps what it answered through a kill and a restart on the same port", async () => {
    const server = await startRedis();
    const { pid } = server;
    await askRedis(server.port, "SET key kept");
    await server.kill();
    expect(isAlive(pid)).toBe(false);
    await expect(askRedis(server.port, "PING")).rejects.toThrow("ECONNREFUSED");
    await server.restart();
    expect(await askRedis(server.port, "GET key")).toContain("kept");
    expect(server.pid).not.toBe(pid);
  });

  it("answers nothing while it is paused, and everything after that", async () => {
    const server = await startRedis();
    const client = await connected(server);
    server.pause();
    const order: string[] = [];
    const pong = client.ping().then(() => order.push("answered"));
    await expect(askRedis(server.port, "PING", 500)).rejects.toThrow("no answer");
    order.push("resumed");
    server.resume();
    await pong;
    expect(order).toEqual(["resumed", "answered"]);
    client.destroy();
  });

  it("takes settings that win over the usual ones, and says why it can't start", async () => {
    const server = await startRedis({ args: ["--maxmemory-policy", "allkeys-lru"] });
    expect(await askRedis(server.port, "CONFIG GET maxmemory-policy")).toContain("allkeys-lru");
    await expect(startRedis({ args: ["--no-such-setting", "1"] })).rejects.toThrow(/Bad directive/);
  });

  it("stops once, and ends when it was paused", async () => {
    const server = await startRedis();
    server.pause();
    await server.stop();
    await server.stop();
    expect(isAlive(server.pid)).toBe(false);
  });
});
