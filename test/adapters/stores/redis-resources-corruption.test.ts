import { randomUUID } from "node:crypto";
import { createClient } from "redis";
import { afterEach, beforeEach, expect, it } from "vitest";
import { redisStore } from "../../../adapters/stores/redis.ts";
import { groupKeys, groupNamesKey, rowMember } from "../../../adapters/stores/redis-resources-keys.ts";
import type { CreateResource, LedgerStore, ResourceRow, UpdateResource } from "../../../src/store.ts";
import { describeRedis, redisUrl } from "../../support/engines.ts";

const CALL = { timeoutMs: 30_000 };
const SECRET = "very-secret";
const group = "workers";

describeRedis("resources in Redis that can't be read", () => {
  const client = createClient({ url: redisUrl() });
  let prefix: string;
  let store: LedgerStore;

  beforeEach(async () => {
    if (!client.isOpen) await client.connect();
    prefix = `test:${randomUUID()}:`;
    store = redisStore(client as never, { keyPrefix: prefix });
    await apply(["a", "b", "c"].map((id) => creation(id)));
  });

  afterEach(async () => {
    await store.close();
    client.destroy();
  });

  const apply = (writes: readonly (CreateResource | UpdateResource)[]) =>
    store.resources.apply({ group, epoch: 0, writes }, CALL);
  const creation = (id: string, state: CreateResource["state"] = "PROVISIONED"): CreateResource => {
    const fields = { state, spec: SECRET, externalId: SECRET, reason: "é", generation: 1, attempt: 1 };
    return { kind: "create", id, after: 0, nonce: randomUUID(), ...fields };
  };
  const update = (id: string): UpdateResource => {
    const fields = { state: "TERMINATED", generation: 1, attempt: 1 } as const;
    return { kind: "update", id, incarnation: 1, expectedVersion: 1, nonce: randomUUID(), ...fields };
  };
  const rowsKey = (): string => groupKeys(prefix, group)[1] as string;
  const member = (id: string): string => rowMember({ id, incarnation: 1 });
  const packedOf = async (id: string) => String(await client.hGet(rowsKey(), member(id)));

  /** All that is stored under the group, as texts. */
  const stored = async (): Promise<unknown> => {
    const [record, rows, specs, ...indexes] = groupKeys(prefix, group) as [string, string, string, ...string[]];
    return [
      ...(await Promise.all([record, rows, specs].map((key) => client.hGetAll(key)))),
      ...(await Promise.all(indexes.map((key) => client.zRangeWithScores(key, 0, -1)))),
    ];
  };

  const isCorrupt = async (answer: Promise<unknown>): Promise<void> => {
    const error = await answer.then(
      () => undefined,
      (reason: unknown) => reason as Error,
    );
    expect(error).toMatchObject({ name: "EvenkeelError", code: "RECORD_CORRUPT" });
    expect(String(error?.stack)).not.toContain(SECRET);
  };

  const idsOf = (rows: readonly ResourceRow[]): string[] => rows.map(({ id }) => id);

  it.each<[string, (packed: string) => string | Promise<string>]>([
    ["of a newer format", (packed) => packed.replace(/^1 /, "2 ")],
    ["cut in its texts", (packed) => packed.slice(0, -1)],
    ["cut in its numbers", (packed) => packed.slice(0, packed.indexOf("\n") - 5)],
    ["with bytes behind its end", (packed) => `${packed}!`],
    ["empty", () => ""],
    ["of an unknown state", (packed) => packed.replace("PROVISIONED", "UNHEARDOF")],
    ["with a text where a number belongs", (packed) => packed.replace("PROVISIONED 1 ", "PROVISIONED one ")],
    [
      "with a number beyond the whole ones",
      (packed) => packed.replace("PROVISIONED 1 1 ", `PROVISIONED 1 ${2 ** 53} `),
    ],
    ["with a time of two dashes", (packed) => packed.replace(" - ", " -- ")],
    ["that is another's", () => packedOf("a")],
  ])("a row %s is RECORD_CORRUPT, stays, and fails every answer that it would be in", async (_, damage) => {
    await client.hSet(rowsKey(), member("b"), await damage(await packedOf("b")));
    const before = await stored();
    await isCorrupt(store.resources.get(group, "b", CALL));
    await isCorrupt(apply([update("a"), update("b")]));
    await isCorrupt(apply([update("a"), { ...creation("b"), after: 1 }]));
    const { resources } = store;
    await isCorrupt(resources.heartbeat({ group, beats: [{ id: "a" }, { id: "b" }] }, CALL));
    await isCorrupt(resources.heartbeat({ group, beats: [{ id: "c" }, { id: "b", incarnation: 1 }] }, CALL));
    expect(await stored(), "nothing of a batch is written").toEqual(before);

    await isCorrupt(resources.list({ group, limit: 9 }, CALL));
    await isCorrupt(resources.list({ group, limit: 9, states: ["PROVISIONED"] }, CALL));
    await isCorrupt(resources.changedSince({ group, limit: 2 }, CALL));
    // As if the machine had slept: an age below nothing makes all of them stale.
    await isCorrupt(resources.staleBefore({ group, ageMs: -1, limit: 2 }, CALL));
    expect(idsOf(await resources.list({ group, limit: 1 }, CALL)), "it would be in no answer before it").toEqual(["a"]);
    expect(idsOf((await resources.changedSince({ group, limit: 1 }, CALL)).rows)).toEqual(["a"]);
    expect(await resources.get(group, "a", CALL)).toMatchObject({ id: "a" });
    expect(await stored()).toEqual(before);
  });

  it("an entry of an index without a row fails every answer that the row would be in", async () => {
    await client.hDel(rowsKey(), member("b"));
    const { resources } = store;
    await isCorrupt(resources.get(group, "b", CALL));
    await isCorrupt(resources.list({ group, limit: 9 }, CALL));
    await isCorrupt(resources.list({ group, limit: 9, states: ["FAILED"] }, CALL));
    await isCorrupt(resources.changedSince({ group, limit: 9 }, CALL));
    await isCorrupt(resources.staleBefore({ group, ageMs: -1, limit: 9 }, CALL));
  });

  it("a row that an index has lost fails every answer that it would be in", async () => {
    const [, , , order = "", changes = ""] = groupKeys(prefix, group);
    await client.zRem(order, member("b"));
    await isCorrupt(store.resources.list({ group, limit: 9 }, CALL));
    await client.zRem(changes, member("b"));
    await isCorrupt(store.resources.changedSince({ group, limit: 9 }, CALL));
  });

  it.each([0, 1, 3, 4])("a key that was lost while the others are there is RECORD_CORRUPT (key %i)", async (index) => {
    await store.resources.apply({ group, epoch: 7, writes: [] }, CALL);
    await client.del(groupKeys(prefix, group)[index] as string);
    const before = await stored();
    const { resources } = store;
    await isCorrupt(apply([creation("d")]));
    await isCorrupt(resources.setDesired({ group, epoch: 0, nonce: "n", desired: "1" }, CALL));
    await isCorrupt(resources.get(group, "a", CALL));
    await isCorrupt(resources.list({ group, limit: 9 }, CALL));
    await isCorrupt(resources.changedSince({ group, limit: 9 }, CALL));
    expect(await stored(), "neither is the group made over, nor its epoch").toEqual(before);
  });

  it("ids and groups that could be taken for another's are refused by the rule", async () => {
    const { resources } = store;
    await apply([creation("x")]);
    // The field of the incarnation 5 of "x" would be that of an id that ends with its digits.
    const refusal = { code: "INVALID_OPTIONS", message: expect.stringMatching(/well-formed and without NUL/) };
    for (const odd of ["x\u0000", `x\u0000${"1".padStart(16, "0")}`, "x\ud800"]) {
      await expect(apply([creation("y"), creation(odd)])).rejects.toMatchObject(refusal);
      await expect(resources.get(group, odd, CALL)).rejects.toMatchObject(refusal);
      await expect(resources.heartbeat({ group, beats: [{ id: odd }] }, CALL)).rejects.toMatchObject(refusal);
      await expect(resources.getDesired(odd, CALL)).rejects.toMatchObject(refusal);
      await expect(store.leases.get(odd, CALL)).rejects.toMatchObject(refusal);
      const lease = { name: odd, holder: "h", nonce: "n", durationMs: 1_000 };
      await expect(store.leases.acquire(lease, CALL)).rejects.toMatchObject(refusal);
    }
    expect(idsOf(await resources.list({ group, limit: 9 }, CALL))).toEqual(["a", "b", "c", "x"]);
  });

  it("the longest age there is makes nothing stale", async () => {
    const ageMs = Number.MAX_SAFE_INTEGER;
    const answer = await store.resources.staleBefore({ group, ageMs, limit: 9 }, CALL);
    expect(answer.rows).toEqual([]);
    expect(answer.nextInMs).toBeGreaterThan(ageMs - 60_000);
    const [first] = await store.resources.list({ group, limit: 1 }, CALL);
    // As it is within the same millisecond, or behind a clock that was set back.
    const silent = groupKeys(prefix, group)[5] as string;
    await client.zAdd(silent, { score: (first as ResourceRow).readAt + 60_000, value: member("b") });
    await client.zRem(silent, [member("a"), member("c")]);
    expect(await store.resources.staleBefore({ group, ageMs, limit: 9 }, CALL)).toEqual({ rows: [], nextInMs: ageMs });
  });

  it("a row without its spec, or with a part of it, is RECORD_CORRUPT where its spec is asked for", async () => {
    const specs = groupKeys(prefix, group)[2] as string;
    for (const damage of [() => client.hSet(specs, member("b"), "very-"), () => client.hDel(specs, member("b"))]) {
      await damage();
      const before = await stored();
      await isCorrupt(store.resources.get(group, "b", CALL));
      await isCorrupt(apply([update("a"), update("b")]));
      await isCorrupt(apply([creation("d"), creation("b")]));
      expect(await stored()).toEqual(before);
      await isCorrupt(store.resources.list({ group, limit: 9 }, CALL));
    }
  });

  it("a row that only an index knows, and one that an index has lost, are RECORD_CORRUPT", async () => {
    const [, rows, , order] = groupKeys(prefix, group) as [string, string, string, string];
    await client.hDel(rows, member("a"));
    await isCorrupt(store.resources.get(group, "a", CALL));
    await isCorrupt(apply([{ ...creation("a"), after: 1 }]));
    await client.zRem(order, member("b"));
    const before = await stored();
    await isCorrupt(apply([creation("b")]));
    expect(await stored(), "the row is not made over").toEqual(before);
  });

  it("a tombstone that can't be read is not purged, and is not in the way of the others", async () => {
    await apply([update("a"), update("b"), update("c")]);
    await client.hSet(rowsKey(), member("a"), "1 TERMINATED");
    expect(await store.resources.purge({ group, ageMs: 0, limit: 1 }, CALL)).toEqual({ purged: 1 });
    expect(await store.resources.purge({ group, ageMs: 0, limit: 9 }, CALL)).toEqual({ purged: 1 });
    expect(await packedOf("a")).toBe("1 TERMINATED");
    expect(await store.resources.purge({ group, ageMs: 0, limit: 9 }, CALL)).toEqual({ purged: 0 });
  });

  it.each([
    ["of a newer format", { format: "2" }],
    ["that is another group's", { group: "others" }],
    ["with a text for an epoch", { epoch: "one" }],
    ["with a mark that no cursor can hold", { mark: "a:b" }],
    ["without what is desired", { generation: "3" }],
  ])("a group %s is RECORD_CORRUPT, and stays", async (_, fields) => {
    await client.hSet(groupKeys(prefix, group)[0], fields);
    const before = await stored();
    const { resources } = store;
    await isCorrupt(resources.getDesired(group, CALL));
    await isCorrupt(resources.setDesired({ group, epoch: 9, nonce: "n", desired: "10" }, CALL));
    if (!("generation" in fields)) {
      await isCorrupt(apply([creation("d")]));
      await isCorrupt(resources.heartbeat({ group, beats: [{ id: "a" }] }, CALL));
      await isCorrupt(resources.changedSince({ group, limit: 9 }, CALL));
      await isCorrupt(resources.purge({ group, ageMs: 0, limit: 9 }, CALL));
    }
    expect(await stored()).toEqual(before);
  });

  it.each([0, 1, 2, 3, 4, 5, 6])(
    "a key of another type is RECORD_CORRUPT for every question (key %i)",
    async (index) => {
      const key = groupKeys(prefix, group)[index] as string;
      await client.set(key, SECRET);
      const { resources } = store;
      const keys = groupKeys(prefix, group).filter((each) => each !== key);
      const dump = () => Promise.all(keys.map((each) => client.sendCommand(["DUMP", each])));
      const before = await dump();
      await isCorrupt(resources.getDesired(group, CALL));
      await isCorrupt(resources.setDesired({ group, epoch: 9, nonce: "n", desired: "10" }, CALL));
      await isCorrupt(apply([update("a"), creation("d")]));
      await isCorrupt(resources.heartbeat({ group, beats: [{ id: "a" }] }, CALL));
      await isCorrupt(resources.get(group, "a", CALL));
      await isCorrupt(resources.list({ group, limit: 9 }, CALL));
      await isCorrupt(resources.changedSince({ group, limit: 9 }, CALL));
      await isCorrupt(resources.staleBefore({ group, ageMs: 0, limit: 9 }, CALL));
      await isCorrupt(resources.purge({ group, ageMs: 0, limit: 9 }, CALL));
      expect(await dump()).toEqual(before);
      expect(await client.get(key)).toBe(SECRET);
    },
  );

  it("names of groups under a key of another type are RECORD_CORRUPT", async () => {
    await client.set(groupNamesKey(prefix), SECRET);
    await isCorrupt(store.resources.listGroups({ limit: 9 }, CALL));
    await isCorrupt(store.resources.setDesired({ group: "new", epoch: 0, nonce: "n", desired: "1" }, CALL));
    expect(await store.resources.getDesired("new", CALL)).toEqual({ generation: 0, epoch: 0 });
  });
});
