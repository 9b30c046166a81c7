import { EventEmitter } from "node:events";
import { readFileSync } from "node:fs";
import { createClient } from "redis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { redisStore } from "../../../adapters/stores/redis.ts";
import { type EvenkeelEvent, withIdempotency } from "../../../src/index.ts";
import type { LedgerStore } from "../../../src/store.ts";
import { askRedis } from "../../support/ask-redis.ts";
import { describeRedisServers } from "../../support/engines.ts";
import { drivers, type OpenClient } from "../../support/redis-clients.ts";
import { type RedisServer, startRedis } from "../../support/redis-server.ts";
import { until } from "../../support/until.ts";

const call = (store: LedgerStore): Promise<string> =>
  withIdempotency(() => "done", { store, operation: "o" })("input", { key: "k" });

describe("wrong options", () => {
  const client = createClient() as never;

  it.each([
    [{ keyPrefix: "a{b}:" }, "keyPrefix"],
    [{ keyPrefix: "a\nb" }, "keyPrefix"],
    [{ keyPrefix: 7 }, "keyPrefix"],
    [{ storeKeys: 1 }, "storeKeys"],
    [{ allowEviction: "yes" }, "allowEviction"],
    [{ durability: {} }, "durability"],
    [{ durability: { replicas: 0, timeoutMs: 100 } }, "durability"],
    [{ durability: { replicas: 1, timeoutMs: Number.NaN } }, "durability"],
    [{ durability: { replicas: 1, timeoutMs: 100, fsync: true } }, "durability"],
    [{ subscriber: {} }, "subscriber"],
    [{ subscriber: "redis://" }, "subscriber"],
    [{ onEvent: {} }, "onEvent"],
    [{ clock: Date }, "clock"],
    [{ prefix: "x" }, "prefix"],
  ])("are refused by name: %j", (options, name) => {
    expect(() => redisStore(client, options as never)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining(name) }),
    );
  });

  it("include what is no client, and say what is one", () => {
    for (const wrong of [undefined, null, "redis://127.0.0.1", {}, new EventEmitter(), { sendCommand() {} }]) {
      expect(() => redisStore(wrong as never)).toThrow(
        expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringMatching(/createClient.*ioredis/) }),
      );
    }
  });

  it("do not include a client that nobody connected, until it is used", async () => {
    const store = redisStore(client);
    await expect(call(store)).rejects.toMatchObject({ code: "STORE_MISCONFIGURED", message: /connect\(\)/ });
    await store.close();
  });
});

describeRedisServers("the server's settings", () => {
  let server: RedisServer;
  let others: (() => Promise<void>)[];
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server?.stop());
  beforeEach(() => {
    others = [];
  });
  afterEach(async () => {
    await askRedis(server.port, "CONFIG SET maxmemory 0");
    await askRedis(server.port, "CONFIG SET maxmemory-policy noeviction");
    await askRedis(server.port, "FLUSHALL");
    for (const close of others) await close();
  });

  describe.each(drivers)("by $driver", ({ driver, open }) => {
    async function opened(url = server.url): Promise<OpenClient["client"]> {
      const { client, close } = await open(url);
      others.push(close);
      return client;
    }

    it("are refused where it evicts, until that is changed", async () => {
      await askRedis(server.port, "CONFIG SET maxmemory-policy allkeys-lru");
      const store = redisStore(await opened());
      await expect(call(store)).rejects.toMatchObject({
        code: "STORE_MISCONFIGURED",
        message: expect.stringMatching(/allkeys-lru.*noeviction/),
      });
      expect(await askRedis(server.port, "DBSIZE")).toContain(":0");
      await askRedis(server.port, "CONFIG SET maxmemory-policy noeviction");
      expect(await call(store)).toBe("done");
      await store.close();
    });

    it("are taken where it evicts and the user allows it", async () => {
      await askRedis(server.port, "CONFIG SET maxmemory-policy allkeys-lru");
      const store = redisStore(await opened(), { allowEviction: true });
      expect(await call(store)).toBe("done");
      await store.close();
    });

    it("are refused where it is a replica", async () => {
      const replica = await startRedis({ args: ["--replicaof", "127.0.0.1", String(server.port)] });
      others.push(() => replica.stop());
      const store = redisStore(await opened(replica.url));
      await expect(call(store)).rejects.toMatchObject({ code: "STORE_MISCONFIGURED", message: /replica/ });
      await store.close();
    });

    it("are refused where the ledger is of a later version, until it is not", async () => {
      const store = redisStore(await opened());
      for (const format of ["2", "10", "0", "one"]) {
        await askRedis(server.port, `SET evenkeel:format ${format}`);
        await expect(call(store)).rejects.toMatchObject({ code: "STORE_MISCONFIGURED", message: /format/ });
      }
      await askRedis(server.port, "SET evenkeel:format 2");
      const message = "redisStore: the ledger has format 2, which is newer than 1: upgrade evenkeel.";
      await expect(call(store)).rejects.toMatchObject({ message });
      expect(await askRedis(server.port, "DBSIZE")).toContain(":1");
      await askRedis(server.port, "SET evenkeel:format 1");
      expect(await call(store)).toBe("done");
      const other = redisStore(await opened(), { keyPrefix: "other:" });
      expect(await call(other)).toBe("done");
      await Promise.all([store.close(), other.close()]);
    });

    it("are RECORD_CORRUPT where the ledger's format is another thing than a text", async () => {
      await askRedis(server.port, "LPUSH evenkeel:format 1");
      const store = redisStore(await opened());
      await expect(call(store)).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
      await store.close();
    });

    it("are reported as unknown, once, where the user of the client may not ask", async () => {
      await askRedis(server.port, `ACL SETUSER ${driver} on nopass ~* &* +@all -config -info`);
      const events: EvenkeelEvent[] = [];
      const url = server.url.replace("redis://", `redis://${driver}:x@`);
      const { client, close } = await open(url).catch(() => open(server.url));
      others.push(close);
      const store = redisStore(client, { onEvent: (event) => events.push(event) });
      expect(await call(store)).toBe("done");
      expect(await call(store)).toBe("done");
      await store.close();
      expect(events).toMatchObject([{ type: "store_setting_unknown", setting: "maxmemory-policy" }]);
    });

    it("are refused where the user of the client may not write", async () => {
      await askRedis(server.port, `ACL SETUSER reader-${driver} on nopass ~* &* +@all -zadd`);
      const store = redisStore(await opened(server.url.replace("redis://", `redis://reader-${driver}:x@`)));
      await expect(call(store)).rejects.toMatchObject({ code: "STORE_MISCONFIGURED", message: /docs\/redis\.md/ });
      await store.close();
    });

    it("are enough where the user of the client has the rights that docs/redis.md names", async () => {
      const rights = /ACL SETUSER app on >secret (.*)/.exec(readFileSync("docs/redis.md", "utf8"))?.[1];
      await askRedis(server.port, `ACL SETUSER app-${driver} on >secret ${rights}`);
      const client = await opened(server.url.replace("redis://", `redis://app-${driver}:secret@`));
      const store = redisStore(client, { durability: { replicas: 1, timeoutMs: 10 } });
      // There is no replica to confirm it, but nothing was refused either.
      await expect(call(store)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
      const plain = redisStore(client, { keyPrefix: "evenkeel:plain:" });
      expect(await call(plain)).toBe("done");
      let wakes = 0;
      plain.executions.watch?.("ab".repeat(32), () => {
        wakes += 1;
      });
      await until("it listens", () => wakes === 1);
      expect(await plain.leases.list("", { timeoutMs: 10_000 })).toEqual([]);
      await Promise.all([store.close(), plain.close()]);
    });

    it("that leave no memory are STORE_UNAVAILABLE, and nothing ran, but what runs is settled", async () => {
      const store = redisStore(await opened());
      const running = withIdempotency(
        async (_: string, ctx) => {
          await askRedis(server.port, "CONFIG SET maxmemory 1mb");
          await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve, { once: true }));
          return "settled";
        },
        { store, operation: "running" },
      );
      const leave = new AbortController();
      const settled = running("input", { key: "k", signal: leave.signal });
      await until("it is full", async () => (await askRedis(server.port, "CONFIG GET maxmemory")).includes("1048576"));
      let runs = 0;
      const bounded = (storeTimeoutMs: number) =>
        withIdempotency(() => ++runs, { store, operation: "full", storeTimeoutMs });
      const [full, fullInVain] = [bounded(10_000), bounded(200)];
      await expect(fullInVain("input", { key: "k" })).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
      expect(runs).toBe(0);
      expect(await store.executions.list({ operation: "full", limit: 1 }, { timeoutMs: 10_000 })).toEqual([]);
      leave.abort();
      expect(await settled).toBe("settled");
      await askRedis(server.port, "CONFIG SET maxmemory 0");
      expect(await full("input", { key: "k" })).toBe(1);
      await store.close();
    });

    it("are no reason to keep a key that is not to be kept", async () => {
      const store = redisStore(await opened(), { storeKeys: false });
      await withIdempotency(() => 1, { store, operation: "o" })("input", { key: "very-secret-key" });
      await store.executions.list({ limit: 1 }, { timeoutMs: 10_000 });
      const [view] = await store.executions.list({ limit: 1 }, { timeoutMs: 10_000 });
      expect(view).toMatchObject({ operation: "o" });
      expect(view?.key).toBeUndefined();
      await store.close();
    });

    it("and the client stay the user's: open, and without a listener of ours", async () => {
      const client = await opened();
      const emitter = client as unknown as EventEmitter;
      emitter.removeAllListeners("error");
      const before = emitter.eventNames().map((name) => [name, emitter.listenerCount(name)]);
      const store = redisStore(client);
      expect(emitter.listenerCount("error")).toBe(1);
      await call(store);
      store.executions.watch?.("ab".repeat(32), () => {});
      const clients = async (): Promise<number> =>
        (await askRedis(server.port, "CLIENT LIST")).split("\n").filter((line) => line.includes("sub=1")).length;
      await until("it listens", async () => (await clients()) === 1);
      await Promise.all([store.close(), store.close()]);
      await store.close();
      await until("the duplicate is closed", async () => (await clients()) === 0);
      expect(emitter.eventNames().map((name) => [name, emitter.listenerCount(name)])).toEqual(before);
      await expect(call(store)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
      const next = redisStore(client);
      expect(await call(next)).toBe("done");
      await next.close();
    });

    it("and a subscriber of the user's stay the user's", async () => {
      const [client, subscriber] = [await opened(), await opened()];
      const emitter = subscriber as unknown as EventEmitter;
      const before = emitter.listenerCount("message");
      const store = redisStore(client, { subscriber });
      const other = redisStore(await opened());
      let wakes = 0;
      const watched = withIdempotency(() => "done", { store: other, operation: "w", inFlight: "wait" });
      store.executions.watch?.("ab".repeat(32), () => {
        wakes += 1;
      });
      await until("it listens", () => wakes === 1);
      await askRedis(server.port, `PUBLISH evenkeel:wake:${"ab".repeat(32)} x`);
      await until("it hears", () => wakes === 2);
      expect(await watched("input", { key: "k" })).toBe("done");
      await Promise.all([store.close(), other.close()]);
      await until("nobody listens", async () => (await askRedis(server.port, "PUBSUB CHANNELS")).startsWith("*0"));
      expect(emitter.listenerCount("message")).toBe(before);
    });
  });
});
