import { randomUUID } from "node:crypto";
import { createClient } from "redis";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { redisStore } from "../../../adapters/stores/redis.ts";
import { fencesKey, groupKeys } from "../../../adapters/stores/redis-resources-keys.ts";
import { slotOf } from "../../../adapters/stores/redis-slots.ts";
import type { ApplyRequest, CreateResource, Fence, LedgerStore } from "../../../src/store.ts";
import { describeRedis, describeRedisServers, redisUrl } from "../../support/engines.ts";
import { type RedisServer, startRedis } from "../../support/redis-server.ts";

const CALL = { timeoutMs: 30_000 };
const group = "workers";

const fencesOf = (...epochs: readonly number[]): Fence[] =>
  epochs.map((epoch, index) => ({ name: "abc".charAt(index), epoch }));

function creation(id: string, overrides: Partial<CreateResource> = {}): CreateResource {
  const fields = { state: "PROVISIONED", spec: "s", generation: 1, attempt: 1 } as const;
  return { kind: "create", id, after: 0, nonce: randomUUID(), ...fields, ...overrides };
}

describeRedis("fences in Redis", () => {
  const client = createClient({ url: redisUrl() });
  let prefix: string;
  let store: LedgerStore;
  let key: string;

  beforeEach(async () => {
    if (!client.isOpen) await client.connect();
    prefix = `test:${randomUUID()}:`;
    store = redisStore(client as never, { keyPrefix: prefix });
    key = fencesKey(prefix, group);
    await apply({ epoch: 1, writes: [creation("web-1")], fences: fencesOf(7, 7, 7) });
  });

  afterEach(async () => {
    await store.close();
    client.destroy();
  });

  const apply = (request: Partial<ApplyRequest>) =>
    store.resources.apply({ group, epoch: 1, writes: [], ...request }, CALL);

  /** All that is stored under the group. */
  const stored = () =>
    Promise.all([...groupKeys(prefix, group), key].map((each) => client.sendCommand(["DUMP", each])));

  const isCorrupt = async (request: Partial<ApplyRequest>): Promise<void> => {
    const before = await stored();
    await expect(apply(request)).rejects.toMatchObject({ name: "EvenkeelError", code: "RECORD_CORRUPT" });
    expect(await stored(), "nothing of the batch is written").toEqual(before);
  };

  /** A batch with something to write of every kind. */
  const batchOf = (...epochs: readonly number[]): Partial<ApplyRequest> => {
    const writes = [creation("web-2"), creation("web-3", { fence: "a" })];
    return { epoch: 2, status: "new", writes, fences: fencesOf(...epochs) };
  };

  it("are fields of a hash of their own, in the slot of their group", async () => {
    expect(await client.hGetAll(key)).toEqual({ a: "7", b: "7", c: "7" });
    expect(key).toMatch(/\{g:[0-9a-f]{32}\}:fences$/);
    expect(new Set([...groupKeys(prefix, group), key].map(slotOf)).size).toBe(1);
  });

  it("leave no key where a batch brings none", async () => {
    await store.resources.apply({ group: "others", epoch: 1, writes: [creation("web-1")], fences: [] }, CALL);
    expect(await client.exists(groupKeys(prefix, "others")[0])).toBe(1);
    expect(await client.exists(fencesKey(prefix, "others"))).toBe(0);
  });

  it.each(["", "seven", "-1", "1.5", " 7", "7 ", "1e3", "0x7", "9007199254740992", "9".repeat(400), "7\n"])(
    "that hold %j are RECORD_CORRUPT for each batch that has them, and nothing is written",
    async (damage) => {
      await client.hSet(key, "b", damage);
      for (const epoch of [0, 7, 8]) await isCorrupt(batchOf(8, epoch));
      await isCorrupt({ fences: fencesOf(6, 8) });
      await isCorrupt({ fences: [...fencesOf(8, 8)].reverse() });
      expect(await client.hGet(key, "b")).toBe(damage);
      const others = { writes: [creation("web-2", { fence: "a" })], fences: [{ name: "a", epoch: 6 }] };
      expect(await apply(others), "a batch without it").toEqual({
        status: "decided",
        results: [{ status: "fenced", epoch: 7 }],
        fences: [{ name: "a", epoch: 7 }],
      });
      expect(await apply({ ...batchOf(8, 8), epoch: 0 }), "nobody looks").toEqual({ status: "fenced", epoch: 1 });
    },
  );

  it("under a key of another type are RECORD_CORRUPT for batches with fences, and for those alone", async () => {
    await client.set(key, "a text");
    await isCorrupt(batchOf(8));
    await isCorrupt({ fences: fencesOf(8) });
    expect(await client.get(key)).toBe("a text");
    expect(await apply({ writes: [creation("web-2")] })).toMatchObject({ results: [{ status: "applied" }] });
  });

  it("that were lost are RECORD_CORRUPT for batches with fences, and nobody begins anew", async () => {
    await client.del(key);
    await isCorrupt(batchOf(1));
    await isCorrupt({ fences: [{ name: "never seen", epoch: 0 }] });
    expect(await client.exists(key)).toBe(0);
    expect(await apply({ writes: [creation("web-2")] })).toMatchObject({ results: [{ status: "applied" }] });
  });

  it("whose group was lost with its rows are RECORD_CORRUPT for batches with fences", async () => {
    await client.del([...groupKeys(prefix, group)]);
    await isCorrupt(batchOf(8));
    await apply({ writes: [creation("web-1")] });
    await isCorrupt(batchOf(8));
    expect(await client.hGetAll(key)).toEqual({ a: "7", b: "7", c: "7" });
  });

  it("stay as they are where a row of their batch can't be read", async () => {
    await client.hSet(groupKeys(prefix, group)[1] as string, `web-1\0${"1".padStart(16, "0")}`, "1 PROVISIONED");
    await isCorrupt({ writes: [creation("web-2", { fence: "a" }), creation("web-1")], fences: fencesOf(8, 8) });
    expect(await client.hGetAll(key)).toEqual({ a: "7", b: "7", c: "7" });
    const fenced = { writes: [creation("web-1", { fence: "a" })], fences: fencesOf(6) };
    expect(await apply(fenced), "a row that nobody looks at").toMatchObject({
      results: [{ status: "fenced", epoch: 7 }],
    });
  });

  it("come by the thousands in one batch", async () => {
    const fences = Array.from({ length: 9_001 }, (_, index) => ({ name: `shard ${index}`, epoch: 1_000 + index }));
    expect(await apply({ fences })).toEqual({ status: "decided", results: [] });
    expect(await client.hLen(key)).toBe(9_004);
    const odd = fences.filter((_, index) => index % 2 === 1);
    const next = fences.map(({ name, epoch }, index) => ({ name, epoch: index % 2 === 1 ? epoch - 1 : epoch + 1 }));
    const writes = next.map(({ name }, index) => creation(`web-${index + 2}`, { fence: name }));
    const answer = await apply({ writes, fences: next });
    expect(answer.status === "decided" && answer.fences).toEqual(odd);
    const results = answer.status === "decided" ? answer.results : [];
    expect(results.map((result) => (result.status === "fenced" ? result.epoch : result.status))).toEqual(
      fences.map(({ epoch }, index) => (index % 2 === 1 ? epoch : "applied")),
    );
    const all = await client.hGetAll(key);
    for (const [index, { name, epoch }] of fences.entries()) {
      expect(all[name]).toBe(String(index % 2 === 1 ? epoch : epoch + 1));
    }
  });

  it("are refused by the rule where their names could be taken for others", async () => {
    for (const name of ["a\u0000", "a\ud800"]) {
      await expect(apply({ fences: [{ name, epoch: 9 }] })).rejects.toMatchObject({
        code: "INVALID_OPTIONS",
        message: expect.stringMatching(/fences must be well-formed and without NUL/),
      });
    }
    expect(await client.hLen(key)).toBe(3);
  });
});

describeRedisServers("fences on a Redis of their own", () => {
  let server: RedisServer;
  let client: ReturnType<typeof createClient>;
  let store: LedgerStore;

  beforeAll(async () => {
    server = await startRedis();
    client = createClient({ url: server.url });
    client.on("error", () => {});
    await client.connect();
    store = redisStore(client as never);
  });

  afterAll(async () => {
    await store?.close();
    client?.destroy();
    await server?.stop();
  });

  const apply = (fences: readonly Fence[] | undefined, writes: readonly CreateResource[] = []) =>
    store.resources.apply({ group, epoch: 0, writes, ...(fences === undefined ? {} : { fences }) }, CALL);

  /** The commands that a batch makes the server do, by their names. */
  async function commandsOf(work: () => Promise<unknown>): Promise<Record<string, number>> {
    await client.sendCommand(["CONFIG", "RESETSTAT"]);
    await work();
    const stats = [...(await client.info("commandstats")).matchAll(/cmdstat_([a-z|]+):calls=(\d+)/g)];
    const within = stats.filter(([, name = ""]) => !/^(config|info|eval)/.test(name));
    return Object.fromEntries(within.map(([, name = "", calls]) => [name, Number(calls)]));
  }

  it("cost one look-up however many they are, and a write where one is higher", async () => {
    const all = Array.from({ length: 256 }, (_, index) => ({ name: `shard ${index}`, epoch: 3 }));
    await apply(all);
    const none = await commandsOf(() => apply(undefined));
    const with256 = await commandsOf(() => apply(all));
    expect(await commandsOf(() => apply(all.slice(0, 1)))).toEqual(with256);
    expect(await commandsOf(() => apply(all.map(({ name }) => ({ name, epoch: 2 }))))).toEqual(with256);
    const { type = 0, hmget = 0, hget = 0 } = none;
    expect(with256, "the type of one more key, the fences, and whether there are some").toEqual({
      ...none,
      type: type + 1,
      hmget: hmget + 1,
      hget: hget + 1,
    });
    const raised = await commandsOf(() => apply(all.map((fence, index) => ({ ...fence, epoch: index % 2 ? 3 : 4 }))));
    expect(raised).toEqual({ ...with256, hset: 1 });
  });

  it("are kept over a kill of the server", async () => {
    await apply([{ name: "durable", epoch: 7 }], [creation("durable", { fence: "durable" })]);
    await server.restart();
    expect(await apply([{ name: "durable", epoch: 6 }])).toEqual({
      status: "decided",
      results: [],
      fences: [{ name: "durable", epoch: 7 }],
    });
  });

  it("stay as they are while the server is full", async () => {
    await apply([{ name: "full", epoch: 1 }]);
    await client.configSet("maxmemory", "1mb");
    try {
      await expect(apply([{ name: "full", epoch: 2 }])).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    } finally {
      await client.configSet("maxmemory", "0");
    }
    expect(await apply([{ name: "full", epoch: 1 }])).toEqual({ status: "decided", results: [] });
  });
});
