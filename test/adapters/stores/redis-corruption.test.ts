import { randomUUID } from "node:crypto";
import { createClient } from "redis";
import { afterEach, beforeEach, expect, it } from "vitest";
import { redisStore } from "../../../adapters/stores/redis.ts";
import { recoverAbandoned, withIdempotency } from "../../../src/index.ts";
import type { LedgerStore } from "../../../src/store.ts";
import { describeRedis, redisUrl } from "../../support/engines.ts";

const CALL = { timeoutMs: 5_000 };

describeRedis("a record in Redis that was tampered with", () => {
  let client: ReturnType<typeof createClient>;
  let store: LedgerStore;
  let prefix: string;
  let runs: number;
  beforeEach(async () => {
    client = createClient({ url: redisUrl() });
    await client.connect();
    prefix = `${randomUUID()}:`;
    store = redisStore(client as never, { keyPrefix: prefix });
    runs = 0;
  });
  afterEach(async () => {
    await store.close();
    client.destroy();
  });

  const once = (key: string): Promise<{ secret: number }> =>
    withIdempotency((_: string) => ({ secret: ++runs }), { store, operation: "o", inFlight: "wait" })("input", { key });

  const keysOf = async (part: string): Promise<string[]> => (await client.keys(`${prefix}*${part}*`)).sort();
  const record = async (): Promise<string> => (await keysOf(":x:"))[0] ?? "";
  const dumped = (key: string): Promise<unknown> => client.sendCommand(["DUMP", key]);

  it.each([
    ["v", "99"],
    ["st", "banana"],
    ["st", "r"],
    ["a", "two"],
    ["a", "0"],
    ["t", "1.5"],
    ["t", "9007199254740993"],
    ["e", "never"],
    ["d", ""],
    ["ok", "gift"],
    ["ok", "error"],
    ["ok", "tombstone"],
    ["ob", ""],
    ["ob", "\u0001"],
    ["ob", "text"],
    ["i", "0".repeat(64)],
  ])("is RECORD_CORRUPT, runs nothing and stays as it is: %s = %j", async (field, value) => {
    await once("k");
    const key = await record();
    await client.hSet(key, field, value);
    const before = await dumped(key);
    await expect(once("k")).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
    expect(runs).toBe(1);
    expect(await dumped(key)).toEqual(before);
  });

  it.each(["v", "o", "s", "a", "t", "n", "c", "r", "e", "st", "d", "ok", "ob", "i"])(
    "is RECORD_CORRUPT, runs nothing and stays as it is: without %s",
    async (field) => {
      await once("k");
      const key = await record();
      await client.hDel(key, field);
      const before = await dumped(key);
      await expect(once("k")).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
      expect(runs).toBe(1);
      expect(await dumped(key)).toEqual(before);
    },
  );

  it("is RECORD_CORRUPT where the key holds something else", async () => {
    await once("k");
    const key = await record();
    await client.del(key);
    await client.set(key, "very-secret");
    const error = await once("k").catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "RECORD_CORRUPT" });
    expect(String((error as Error).stack)).not.toContain("very-secret");
    expect(await client.get(key)).toBe("very-secret");
  });

  it("is found out when two records swapped their outcomes, or their places", async () => {
    await once("a");
    await once("b");
    const [one = "", two = ""] = await keysOf(":x:");
    const swap = (): Promise<unknown> =>
      client.eval(
        `local a, b = redis.call('HGET', KEYS[1], 'ob'), redis.call('HGET', KEYS[2], 'ob')
        redis.call('HSET', KEYS[1], 'ob', b) redis.call('HSET', KEYS[2], 'ob', a)`,
        { keys: [one, two] },
      );
    await swap();
    for (const key of ["a", "b"]) await expect(once(key)).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
    await swap();
    await client.sendCommand(["COPY", one, two, "REPLACE"]);
    const answers = await Promise.allSettled(["a", "b"].map(once));
    expect(answers.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(runs).toBe(2);
  });

  it("does not disturb the calls that are sent with it", async () => {
    await once("broken");
    await client.hSet(await record(), "v", "99");
    const [broken, ...others] = await Promise.allSettled(["broken", "a", "b", "c"].map(once));
    expect(broken).toMatchObject({ status: "rejected", reason: { code: "RECORD_CORRUPT" } });
    expect(others.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "fulfilled"]);
  });

  it("neither stops a sweep over the others nor is deleted by a purge", async () => {
    await once("k");
    const key = await record();
    await client.hSet(key, { v: "99", e: "1" });
    const [index = ""] = await keysOf(":index");
    await client.zAdd(index, { score: 1, value: key.slice(-64) });
    expect(await recoverAbandoned({ store, resolver: () => "retry" })).toEqual({ completed: 0, retried: 0, left: 0 });
    expect(await store.executions.purge({ limit: 10 }, CALL)).toEqual({ purged: 0 });
    expect(await client.exists(key)).toBe(1);
  });

  it("grants no claim where the fencing counter is none", async () => {
    await once("k");
    const key = await record();
    const [counter = ""] = await keysOf(":token");
    for (const broken of ["two", "-1", "9007199254740993"]) {
      await client.set(counter, broken);
      await client.del(key);
      await expect(once("k")).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
    }
    expect(runs).toBe(1);
  });

  it("leaves keys that expire, but for the small ones of a bucket", async () => {
    await once("k");
    const lasting: string[] = [];
    for (const key of await keysOf("")) if ((await client.pTTL(key)) < 0) lasting.push(key.slice(prefix.length));
    expect(lasting.map((key) => key.replace(/^\{[0-9a-f]{3}\}/, ""))).toEqual([":index", ":token"]);
  });
});
