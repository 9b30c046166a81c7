import { randomUUID } from "node:crypto";
import { createClient } from "redis";
import { afterEach, beforeEach, expect, it } from "vitest";
import { redisStore } from "../../../adapters/stores/redis.ts";
import { recoverAbandoned, withIdempotency } from "../../../src/index.ts";
import type { LedgerStore } from "../../../src/store.ts";
import { describeRedis, redisUrl } from "../../support/engines.ts";
import { editRecord, HEADER } from "../../support/redis-subject.ts";

const CALL = { timeoutMs: 20_000 };

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
  async function staysCorrupt(key: string): Promise<void> {
    const before = await dumped(key);
    await expect(once("k")).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
    expect(runs).toBe(1);
    expect(await dumped(key)).toEqual(before);
  }

  const dumped = (key: string): Promise<unknown> => client.sendCommand(["DUMP", key]);

  it.each([
    ["format", "99"],
    ["status", "banana"],
    ["status", "r"],
    ["attempt", "two"],
    ["attempt", "0"],
    ["token", "1.5"],
    ["token", "9007199254740993"],
    ["expires", "never"],
    ["moment", "-1"],
    ["retention", "9007199254740993"],
    ["created", "1e3"],
    ["what", "gift"],
    ["what", "error"],
    ["what", "tombstone"],
    ["what", "1"],
    ["abandoned", "1-2"],
    ["steps", "2"],
    ["#outcome", "1"],
    ["#operation", "9"],
    ["#scope", "99999999999999999999"],
    ["#key", "1-"],
    ["id", "0".repeat(64)],
  ] as const)("is RECORD_CORRUPT, runs nothing and stays as it is: %s = %j", async (word, value) => {
    await once("k");
    const key = await record();
    await client.sendCommand(editRecord(key, word, value));
    await staysCorrupt(key);
  });

  it.each(HEADER)("is RECORD_CORRUPT, runs nothing and stays as it is: without %s", async (word) => {
    await once("k");
    const key = await record();
    await client.sendCommand(editRecord(key, word, ""));
    await staysCorrupt(key);
  });

  it.each(["", "\u0001", "text"])(
    "is RECORD_CORRUPT, runs nothing and stays as it is: with the outcome %j",
    async (bytes) => {
      await once("k");
      const key = await record();
      const stored = String(await client.get(key));
      const length = / (\d+) \d+ \d+ \d+ \d+ \d+ \d+\n/.exec(stored)?.[1];
      await client.set(key, stored.slice(0, -Number(length)) + bytes, { expiration: "KEEPTTL" });
      await client.sendCommand(editRecord(key, "#outcome", String(bytes.length)));
      await staysCorrupt(key);
    },
  );

  it.each([-1, 200, 60, 1])("is RECORD_CORRUPT, runs nothing and stays as it is: cut at %d", async (at) => {
    await once("k");
    const key = await record();
    await client.set(key, String(await client.get(key)).slice(0, at), { expiration: "KEEPTTL" });
    await staysCorrupt(key);
  });

  it("is RECORD_CORRUPT, runs nothing and stays as it is: longer than it says", async () => {
    await once("k");
    const key = await record();
    await client.append(key, "x");
    await staysCorrupt(key);
  });

  it("is not broken by texts that look like its own", async () => {
    const hostile = ["1 2", "\u0000", "a\nb", "\n", "- 0 1 -", "%s%d", "\u{1f600}é", ""];
    const found: unknown[] = [];
    for (const [at, operation] of hostile.entries()) {
      const request = {
        ...{
          id: at.toString(16).padStart(64, "0"),
          operation,
          scope: hostile[at - 1] ?? "",
          key: hostile.at(-at) ?? "",
        },
        ...{ fingerprint: `f${operation}`, nonce: `n${operation}`, leaseMs: 60_000, retentionMs: 60_000 },
      };
      const claim = await store.executions.claim({ ...request, onAbandoned: "report" }, CALL);
      if (claim.status !== "acquired") throw new Error(claim.status);
      expect(await store.executions.renew({ ...request, token: claim.token }, CALL)).toMatchObject({
        status: "renewed",
      });
      const outcome = { kind: "value", bytes: Buffer.from(operation) } as const;
      const { id, nonce, retentionMs } = request;
      const settled = await store.executions.complete({ id, nonce, retentionMs, token: claim.token, outcome }, CALL);
      expect(settled).toMatchObject({ status: "committed", fingerprint: request.fingerprint, attempt: 1 });
      const [view] = await store.executions.list({ operation, limit: 10 }, CALL);
      const { scope, key, fingerprint } = request;
      expect(view).toMatchObject({ id, operation, scope, key, fingerprint, status: "completed" });
      expect(view).toEqual({ ...(await store.executions.get(id, CALL)), expiresInMs: expect.any(Number) });
      found.push(view?.status === "completed" && Buffer.from(view.outcome.bytes).toString());
    }
    expect(found).toEqual(hostile);
  });

  it("is RECORD_CORRUPT where the key holds something else", async () => {
    await once("k");
    const key = await record();
    await client.del(key);
    await client.hSet(key, "m", "very-secret");
    const error = await once("k").catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "RECORD_CORRUPT" });
    expect(String((error as Error).stack)).not.toContain("very-secret");
    expect(await client.hGet(key, "m")).toBe("very-secret");
    await client.del(key);
    await client.set(key, "very-secret");
    await expect(once("k")).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
    expect(await client.get(key)).toBe("very-secret");
  });

  it("is found out when two records swapped their outcomes, or their places", async () => {
    await once("a");
    await once("b");
    const [one = "", two = ""] = await keysOf(":x:");
    // Outcomes of one length, at the ends of records of one length.
    const swap = (): Promise<unknown> =>
      client.eval(
        `local a, b = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
        redis.call('SETRANGE', KEYS[1], #a - 40, string.sub(b, -40))
        redis.call('SETRANGE', KEYS[2], #b - 40, string.sub(a, -40))`,
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
    await client.sendCommand(editRecord(await record(), "format", "99"));
    const [broken, ...others] = await Promise.allSettled(["broken", "a", "b", "c"].map(once));
    expect(broken).toMatchObject({ status: "rejected", reason: { code: "RECORD_CORRUPT" } });
    expect(others.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "fulfilled"]);
  });

  it("neither stops a sweep over the others nor is deleted by a purge", async () => {
    await once("k");
    const key = await record();
    await client.sendCommand(editRecord(key, "format", "99"));
    await client.sendCommand(editRecord(key, "expires", "1"));
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
