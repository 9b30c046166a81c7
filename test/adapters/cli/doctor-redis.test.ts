import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createClient } from "redis";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { redisStore } from "../../../adapters/stores/redis.ts";
import { withIdempotency } from "../../../src/index.ts";
import { AdjustableClock } from "../../support/adjustable-clock.ts";
import { askRedis } from "../../support/ask-redis.ts";
import { describeRedisServers } from "../../support/engines.ts";
import { type RedisServer, startRedis } from "../../support/redis-server.ts";
import { newFolder } from "../../support/run-folder.ts";
import { onFreePort, startServerProcess } from "../../support/server-process.ts";
import { startTcpProxy } from "../../support/tcp-proxy.ts";
import { until } from "../../support/until.ts";
import { run } from "./cli-kit.ts";
import { examined, refusal } from "./doctor-examination.ts";
import { CALL } from "./ledger-kit.ts";

const GOOD = {
  "min-replicas-to-write": "0",
  "maxmemory-policy": "noeviction",
  maxmemory: "0",
  appendfsync: "always",
  appendonly: "yes",
  save: "",
};

describeRedisServers("evenkeel doctor of a Redis", () => {
  let server: RedisServer;
  let admin: ReturnType<typeof createClient>;

  beforeAll(async () => {
    server = await startRedis();
    admin = createClient({ url: server.url });
    await admin.on("error", () => {}).connect();
  });
  afterAll(async () => {
    admin?.destroy();
    await server?.stop();
  });
  beforeEach(async () => {
    await set(GOOD);
    await admin.flushAll();
    await admin.sendCommand(["CONFIG", "RESETSTAT"]);
  });

  async function set(settings: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, value] of Object.entries(settings)) await admin.configSet(name, value);
  }

  it("finds nothing on one that is durable, and has made every check", async () => {
    const examination = await examined(server.url);
    expect(examination.findings).toEqual([]);
    expect(examination.unknown).toEqual([]);
    const checks = ["version", "role", "eviction", "evicted", "memory", "persistence", "appendfsync", "last-save"];
    for (const id of [...checks, "replicas", "clock", "latency"]) expect(examination.fine).toContain(`redis-${id}`);
    expect(examination.fine).toContain("executions-unreadable");
  });

  it("finds a policy that evicts, though no store would open such a server", async () => {
    await set({ "maxmemory-policy": "allkeys-lru" });
    const { findings, unknown } = await examined(server.url);
    expect(findings).toMatchObject([
      {
        id: "redis-eviction",
        severity: "error",
        what: expect.stringMatching(/allkeys-lru/),
        change: expect.stringMatching(/CONFIG SET maxmemory-policy noeviction/),
      },
    ]);
    expect(unknown).toMatchObject([{ id: "ledger" }]);
  });

  it("finds that keys were evicted, also once the policy is right", async () => {
    await set({ maxmemory: "3mb", "maxmemory-policy": "allkeys-random" });
    for (let key = 0; key < 40; key += 1) await admin.set(`filler-${key}`, "x".repeat(200_000));
    await set(GOOD);
    expect((await examined(server.url)).of("redis-evicted")).toMatchObject([{ severity: "error" }]);
  });

  it("finds memory that is nearly used up", async () => {
    // In pieces: what a client has just sent is counted, too, and given back a moment later.
    for (let key = 0; key < 100; key += 1) await admin.set(`filler-${key}`, "x".repeat(50_000));
    const used = Number(/used_memory:(\d+)/.exec(await admin.info("memory"))?.[1]);
    await set({ maxmemory: String(Math.round(used * 1.15)) });
    expect((await examined(server.url)).of("redis-memory")).toMatchObject([
      { what: expect.stringMatching(/maxmemory/) },
    ]);
    await set({ maxmemory: String(used * 10) });
    expect((await examined(server.url)).isFine("redis-memory")).toBe(true);
  });

  it("tells what a crash and what a loss of power would take", async () => {
    await set({ appendfsync: "everysec" });
    expect((await examined(server.url)).of("redis-appendfsync")).toMatchObject([{ severity: "hint" }]);
    await set({ appendfsync: "no" });
    expect((await examined(server.url)).of("redis-appendfsync")).toMatchObject([{ severity: "warning" }]);
    await set({ appendonly: "no" });
    const without = await examined(server.url);
    expect(without.of("redis-persistence")).toMatchObject([{ severity: "error" }]);
    expect(without.of("redis-appendfsync")).toEqual([]);
    await set({ save: "3600 1" });
    expect((await examined(server.url)).of("redis-persistence")).toMatchObject([{ severity: "warning" }]);
  });

  it("finds a snapshot that failed", async () => {
    const own = await startRedis({ args: ["--appendonly", "no"] });
    try {
      const client = createClient({ url: own.url });
      await client.on("error", () => {}).connect();
      const { dir = "" } = await client.configGet("dir");
      await rm(dir, { recursive: true });
      await client.sendCommand(["BGSAVE"]);
      await until("the snapshot has failed", async () =>
        /last_bgsave_status:err/.test(await client.info("persistence")),
      );
      client.destroy();
      expect((await examined(own.url)).of("redis-last-save")).toMatchObject([{ severity: "error" }]);
    } finally {
      await own.stop();
    }
  });

  it("finds a primary that acknowledges what no replica has, and a replica", async () => {
    const replica = await startRedis({
      args: ["--replicaof", "127.0.0.1", String(server.port), "--repl-diskless-sync-delay", "0"],
    });
    try {
      await until("the replica is connected", async () => /connected_slaves:1/.test(await admin.info("replication")));
      expect((await examined(server.url)).of("redis-replicas")).toMatchObject([{ severity: "warning" }]);
      await set({ "min-replicas-to-write": "2" });
      expect((await examined(server.url)).of("redis-replicas")).toMatchObject([{ severity: "error" }]);
      await set({ "min-replicas-to-write": "1" });
      await until("the replica keeps up", async () => /good_slaves:1/.test(await admin.info("replication")));
      expect((await examined(server.url)).isFine("redis-replicas")).toBe(true);
      await set({ "min-replicas-to-write": "0" });
      expect((await examined(replica.url)).of("redis-role")).toMatchObject([
        { severity: "error", change: expect.stringMatching(`127.0.0.1:${server.port}`) },
      ]);
    } finally {
      await replica.stop();
    }
  });

  it("says of a node of a cluster that it has seen one node only", async () => {
    const node = await startRedis({ args: ["--cluster-enabled", "yes"] });
    try {
      const client = createClient({ url: node.url });
      await client.connect();
      await client.sendCommand(["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
      await until("the cluster is there", async () =>
        /cluster_state:ok/.test(String(await client.sendCommand(["CLUSTER", "INFO"]))),
      );
      client.destroy();
      expect((await examined(node.url)).of("redis-role")).toMatchObject([{ severity: "hint" }]);
    } finally {
      await node.stop();
    }
  });

  it("finds a Sentinel where the primary should be", async () => {
    const folder = await newFolder("sentinel");
    const file = join(folder, "sentinel.conf");
    await writeFile(file, "");
    const sentinel = await onFreePort(async (port) => {
      const args = [file, "--sentinel", "--port", String(port), "--bind", "127.0.0.1", "--dir", folder];
      const ready = async () => /^\+PONG/.test(await askRedis(port, "PING"));
      return { port, process: await startServerProcess({ command: "redis-server", args, folder, ready }) };
    });
    try {
      expect((await examined(`redis://127.0.0.1:${sentinel.port}`)).of("redis-role")).toMatchObject([
        { severity: "error", change: expect.stringMatching(/get-master-addr-by-name/i) },
      ]);
    } finally {
      sentinel.process.signal("SIGKILL");
      await sentinel.process.ended;
      await rm(folder, { recursive: true });
    }
  });

  it("calls unknown, and not fine, what it may not ask", async () => {
    const as = async (name: string, ...rights: string[]): Promise<string> => {
      await admin.sendCommand(["ACL", "SETUSER", name, "on", ">secret", "~*", "&*", "+@all", ...rights]);
      return server.url.replace("//", `//${name}:secret@`);
    };
    const noConfig = await examined(await as("unconfigured", "-config"));
    expect(noConfig.unknown).toMatchObject([
      { id: "redis-appendfsync", why: expect.stringMatching(/CONFIG.* is denied/) },
    ]);
    expect(noConfig.isFine("redis-appendfsync")).toBe(false);
    // INFO tells it as well.
    expect(noConfig.isFine("redis-eviction")).toBe(true);
    const nothing = await examined(await as("uninformed", "-config", "-info"));
    expect(nothing.unknown.map(({ id }) => id)).toEqual(
      expect.arrayContaining(["redis-version", "redis-eviction", "redis-persistence"]),
    );
    expect(nothing.fine.filter((id) => id.startsWith("redis-"))).toEqual(["redis-clock", "redis-latency"]);
  });

  it("finds a clock that is far from ours, and a server that is far away", async () => {
    const clock = new AdjustableClock();
    clock.advance(3_600_000);
    expect((await examined(server.url, { clock })).of("redis-clock")).toMatchObject([
      { severity: "warning", what: expect.stringMatching(/(59 m|1 h).* behind/) },
    ]);
    const proxy = await startTcpProxy(server);
    try {
      proxy.delay({ toServer: 40 });
      const limits = { latencyMs: 30 };
      expect((await examined(proxy.url(server.url), { limits })).of("redis-latency")).toMatchObject([
        { severity: "hint" },
      ]);
    } finally {
      await proxy.stop();
    }
  });

  it.each(["evenkeel:", "größe:"])("finds records under %s that lists leave out, and names no key", async (prefix) => {
    const store = redisStore(admin, { keyPrefix: prefix });
    const pay = withIdempotency(() => "paid", { store, operation: "pay" });
    for (let key = 0; key < 5; key += 1) await pay({}, { key: `key-${key}` });
    await store.close();
    expect((await examined(server.url, { prefix })).isFine("executions-unreadable")).toBe(true);
    const [first = "", second = ""] = (await admin.keys(`${prefix}{*}:x:*`)).sort();
    await admin.set(first, "2 of a later version", { KEEPTTL: true });
    await admin.del(second);
    await admin.hSet(second, "a", "b");
    const [finding] = (await examined(server.url, { prefix })).of("executions-unreadable");
    expect(finding).toMatchObject({ severity: "error", what: expect.stringMatching(/^2 records/) });
    expect(JSON.stringify(finding)).not.toContain("key-");
  });

  it("finds leases that nobody can take any more", async () => {
    const store = redisStore(admin);
    for (const name of ["sound", "two words"]) {
      await store.leases.acquire({ name, holder: "node-1", nonce: "n", durationMs: 60_000 }, CALL);
    }
    expect((await examined(server.url)).isFine("leases-unreadable")).toBe(true);
    await admin.hSet("evenkeel:{leases}:x", { broken: "1 abc 0 1000 1000 bg bg", newer: "2 1 0 1000 1000 bg bg" });
    await admin.hSet("evenkeel:{leases}:x", { huge: "1 9007199254740993 0 1000 1000 bg bg", never: "1 0 0 1 1 bg bg" });
    const findings = (await examined(server.url)).of("leases-unreadable");
    expect(findings.map(({ subject }) => subject)).toEqual(["broken", "huge", "never", "newer"]);
    for (const { subject = "" } of findings) {
      const acquired = store.leases.acquire({ name: subject, holder: "h", nonce: "m", durationMs: 1_000 }, CALL);
      await expect(acquired).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
    }
    await store.close();
    await admin.set("evenkeel:{leases}:x", "no hash");
    expect((await examined(server.url)).of("leases-unreadable")).toMatchObject([{ severity: "error" }]);
  });

  it("refuses a ledger of a newer format, whatever else is wrong with the server", async () => {
    await set({ appendonly: "no" });
    await admin.set("evenkeel:format", "2");
    expect(await refusal(server.url)).toMatch(/newer than 1: upgrade evenkeel/);
    await admin.del("evenkeel:format");
    await admin.hSet("evenkeel:format", "a", "b");
    const { status, stderr, stdout } = await run(["leases", "list", "--store", server.url]);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toMatch(/^evenkeel: [^\n]*no ledger[^\n]*\n$/);
  });

  it("refuses a server that is not there, and tells no password", async () => {
    const gone = await startRedis();
    await gone.stop();
    const message = await refusal(gone.url.replace("//", "//:secret@"), { timeoutMs: 2_000 });
    expect(message).toMatch(/can't be reached/);
    expect(message).not.toContain("secret");
  });
});
