import { createClient, createCluster, createSentinel } from "redis";
import { afterEach, expect, it } from "vitest";
import { describeRedisServers } from "../support/engines.ts";
import { startRedisCluster } from "../support/redis-cluster.ts";
import { startSentinel } from "../support/redis-sentinel.ts";
import { endServers } from "../support/server-process.ts";
import { until } from "../support/until.ts";

afterEach(endServers);

describeRedisServers("a Redis with Sentinels", () => {
  it("has another primary after a failover and after a kill, with what was replicated", async () => {
    const trio = await startSentinel();
    const client = createSentinel({ name: trio.name, sentinelRootNodes: [...trio.sentinels] });
    client.on("error", () => {});
    await client.connect();
    const before = trio.primary();
    await client.set("key", "replicated");
    // Redis answers before its replicas have it, and a failover loses what the promoted one has not.
    expect(Number(await client.sendCommand(false, ["WAIT", "2", "10000"]))).toBe(2);
    await trio.failover();
    const second = trio.primary();
    expect(second).not.toBe(before);
    expect(trio.replicas()).toContain(before);
    await trio.killPrimary();
    expect(trio.primary()).not.toBe(second);
    const direct = await createClient({ url: trio.primary().url }).connect();
    expect(await direct.get("key")).toBe("replicated");
    direct.destroy();
    await until("the client has found the new primary", async () => (await client.get("key")) === "replicated");
    client.destroy();
  });
});

describeRedisServers("a Redis Cluster", () => {
  it("has another primary for a key after a failover and after a kill, with what was replicated", async () => {
    const cluster = await startRedisCluster();
    const client = createCluster({ rootNodes: cluster.nodes.map(({ host, port }) => ({ socket: { host, port } })) });
    client.on("error", () => {});
    await client.connect();
    const before = await cluster.primaryOf("key");
    await client.set("key", "replicated");
    expect(await client.mGet(["{key}1", "{key}2"])).toEqual([null, null]);
    await cluster.failover("key");
    const second = await cluster.primaryOf("key");
    expect(second).not.toBe(before);
    await cluster.killPrimaryOf("key");
    expect(await cluster.primaryOf("key")).toBe(before);
    await until("the client has found the new primary", async () => (await client.get("key")) === "replicated");
    client.destroy();
  });
});
