import { createHash } from "node:crypto";
import { inspect } from "node:util";
import { Redis } from "ioredis";
import { createClient, createClientPool } from "redis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type RedisStoreOptions, redisStore } from "../../../adapters/stores/redis.ts";
import type { LedgerStore } from "../../../src/store.ts";
import { askRedis } from "../../support/ask-redis.ts";
import { describeRedisServers } from "../../support/engines.ts";
import { inTime } from "../../support/in-time.ts";
import { drivers, type OpenClient } from "../../support/redis-clients.ts";
import { type RedisServer, startRedis } from "../../support/redis-server.ts";
import { until } from "../../support/until.ts";

const CALL = { timeoutMs: 20_000 };
const ID = createHash("sha256").update("record").digest("hex");
const OUTCOME = { kind: "value" as const, bytes: Buffer.from("secret outcome") };

const claim = (nonce: string) => ({
  ...{ id: ID, operation: "o", scope: "secret scope", key: "secret key", nonce },
  ...{ leaseMs: 60_000, retentionMs: 60_000, onAbandoned: "takeover" as const },
});

describeRedisServers("the clients of redisStore", () => {
  let server: RedisServer;
  let undo: (() => unknown)[];
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server?.stop());
  beforeEach(() => {
    undo = [];
  });
  afterEach(async () => {
    for (const close of undo.reverse()) await close();
    await askRedis(server.port, "FLUSHALL");
  });

  function storeOn(client: OpenClient["client"], options: RedisStoreOptions = {}): LedgerStore {
    const store = redisStore(client, options);
    undo.push(() => store.close());
    return store;
  }

  function ioredis(options: object = {}, url = server.url): Redis {
    const client = new Redis(url, options);
    client.on("error", () => {});
    undo.push(() => client.disconnect());
    return client;
  }

  it("of ioredis may have enableAutoPipelining, with and without durability", async () => {
    const client = ioredis({ enableAutoPipelining: true });
    for (const durability of [undefined, { replicas: 1, timeoutMs: 10 }]) {
      const store = storeOn(client, { keyPrefix: `${durability?.replicas}:`, ...(durability && { durability }) });
      const claimed = store.executions.claim(claim("n1"), CALL);
      if (durability === undefined) expect(await claimed).toMatchObject({ status: "acquired" });
      else await expect(claimed).rejects.toMatchObject({ message: expect.stringContaining("Too few replicas") });
      expect(await store.executions.get(ID, CALL)).toMatchObject({ status: "running" });
    }
  });

  it("are no pool where the store is to listen", async () => {
    const pool = createClientPool({ url: server.url });
    expect(() => redisStore(ioredis(), { subscriber: pool })).toThrow(
      expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining("pool") }),
    );
  });

  it("that are subscribed are STORE_MISCONFIGURED", async () => {
    const byIoredis = ioredis({ protocol: 2 });
    await byIoredis.subscribe("mine");
    const byRedis = createClient({ url: server.url, RESP: 2 });
    await byRedis.on("error", () => {}).connect();
    undo.push(() => byRedis.destroy());
    await byRedis.subscribe("mine", () => {});
    for (const client of [byIoredis, byRedis]) {
      await expect(storeOn(client as never).executions.get(ID, CALL)).rejects.toMatchObject({
        code: "STORE_MISCONFIGURED",
        message: expect.stringContaining("subscribed"),
      });
    }
  });

  it("of ioredis with a wrong password say so in the cause", async () => {
    const client = ioredis({ retryStrategy: () => 20 }, server.url.replace("redis://", "redis://nobody:secret@"));
    await expect(storeOn(client).executions.get(ID, { timeoutMs: 2_000 })).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
      cause: { message: expect.stringContaining("WRONGPASS") },
    });
  });

  describe.each(drivers)("by $driver", ({ open }) => {
    async function opened(url = server.url): Promise<OpenClient["client"]> {
      const { client, close } = await open(url);
      undo.push(close);
      return client;
    }

    it("hang nothing of the user's on an error", async () => {
      const store = storeOn(await opened());
      const held = await store.executions.claim(claim("n1"), CALL);
      if (held.status !== "acquired") throw new Error(held.status);
      await askRedis(server.port, "CONFIG SET min-replicas-to-write 3");
      undo.push(() => askRedis(server.port, "CONFIG SET min-replicas-to-write 0"));
      const holder = { id: ID, nonce: "n1", token: held.token, retentionMs: 60_000 };
      const errors = await Promise.all([
        store.executions
          .claim({ ...claim("n2"), id: createHash("sha256").digest("hex") }, CALL)
          .catch((error) => error),
        store.executions.complete({ ...holder, outcome: OUTCOME }, CALL).catch((error) => error),
      ]);
      for (const error of errors) {
        expect(error).toMatchObject({ code: "STORE_UNAVAILABLE", cause: { message: /NOREPLICAS/ } });
        const told = [
          inspect(error, { depth: 10, showHidden: true }),
          JSON.stringify(error),
          JSON.stringify(error.cause),
        ];
        const bytes = JSON.stringify(OUTCOME.bytes.toJSON().data).slice(1, -1);
        for (const text of told) expect(text).not.toMatch(new RegExp(`secret|${bytes}|73 65 63 72 65 74`));
        expect(Object.keys(error.cause)).toEqual([]);
      }
    });

    it("meet a key of another type as RECORD_CORRUPT", async () => {
      await askRedis(server.port, "SET evenkeel:{leases}:index text");
      await expect(storeOn(await opened()).leases.list("", CALL)).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
    });

    it("that two stores listen on go on for one when the other gives up", async () => {
      const [client, subscriber] = [await opened(), await opened()];
      const [first, second] = [storeOn(client, { subscriber }), storeOn(client, { subscriber })];
      let [firstWakes, secondWakes] = [0, 0];
      const stop = first.executions.watch?.(ID, () => void firstWakes++);
      second.executions.watch?.(ID, () => void secondWakes++);
      await until("both listen", () => firstWakes > 0 && secondWakes > 0);
      stop?.();
      const before = secondWakes;
      // What is asked of the subscriber after it has been given up comes after that.
      await until("the first gave up", async () => {
        let listens = false;
        const end = first.executions.watch?.("cd".repeat(32), () => {
          listens = true;
        });
        await until("it listens", () => listens);
        end?.();
        return true;
      });
      await askRedis(server.port, `PUBLISH evenkeel:wake:${ID} x`);
      await until("it is woken", () => secondWakes > before);
      await Promise.all([first.close(), second.close()]);
      await until("nobody listens", async () => (await askRedis(server.port, "PUBSUB CHANNELS")).startsWith("*0"));
    });

    it.each(["while the server is away", "at once"])(
      "leave no connection when one watches and closes %s",
      async (when) => {
        const own = await startRedis();
        undo.push(() => own.stop());
        const store = storeOn(await opened(own.url));
        await store.executions.get(ID, CALL);
        if (when !== "at once") await own.kill();
        store.executions.watch?.(ID, () => {});
        // As far as its connection is asked for.
        if (when !== "at once") await new Promise((resolve) => setImmediate(resolve));
        await Promise.resolve();
        await inTime(5_000, store.close());
        if (when !== "at once") await own.restart();
        const clients = async () => (await askRedis(own.port, "CLIENT LIST")).match(/^id=/gm)?.length;
        // The user's, and who asks.
        await until("only the user's is left", async () => (await clients()) === 2);
      },
    );

    it("keep nothing of calls whose time was up while the server was away", async () => {
      const own = await startRedis();
      undo.push(() => own.stop());
      const store = storeOn(await opened(own.url));
      await store.executions.get(ID, CALL);
      await own.kill();
      const payload: WeakRef<object>[] = [];
      const calls = Array.from({ length: 50 }, async () => {
        const bytes = Buffer.alloc(100_000);
        const outcome = { kind: "value" as const, bytes };
        payload.push(new WeakRef(bytes));
        const holder = { id: ID, nonce: "n", token: 1, retentionMs: 60_000 };
        await store.executions.complete({ ...holder, outcome }, { timeoutMs: 200 }).catch(() => {});
      });
      await Promise.all(calls);
      const before = process.memoryUsage().arrayBuffers;
      await until("it is let go", () => {
        globalThis.gc?.();
        Buffer.alloc(5_000_000);
        return payload.every((each) => each.deref() === undefined) && before > 0;
      });
    });
  });
});
