import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { afterEach, beforeEach, expect, it } from "vitest";
import { redisStore } from "../../../adapters/stores/redis.ts";
import { groupKeys } from "../../../adapters/stores/redis-resources-keys.ts";
import type {
  CreateResource,
  LedgerStore,
  ResourceRow,
  ResourceWrite,
  UpdateResource,
  WriteResult,
} from "../../../src/store.ts";
import { describeRedis, redisUrl } from "../../support/engines.ts";

const CALL = { timeoutMs: 30_000 };
const MOST = Number.MAX_SAFE_INTEGER;
const group = "workers";

describeRedis("redisStore's resources", () => {
  const client = createClient({ url: redisUrl() });
  let prefix: string;
  let store: LedgerStore;

  beforeEach(async () => {
    await client.connect();
    prefix = `test:${randomUUID()}:`;
    store = redisStore(client as never, { keyPrefix: prefix });
  });

  afterEach(async () => {
    await store.close();
    client.destroy();
  });

  const creation = (id: string, overrides: Partial<CreateResource> = {}): CreateResource => {
    const fields = { state: "PROVISIONED", generation: 1, attempt: 1 } as const;
    return { kind: "create", id, after: 0, nonce: randomUUID(), ...fields, ...overrides };
  };
  const updateOf = (row: ResourceRow, overrides: Partial<UpdateResource> = {}): UpdateResource => {
    const { id, incarnation, version: expectedVersion, state, generation, attempt } = row;
    const fields = { id, incarnation, expectedVersion, state, generation, attempt };
    return { kind: "update", nonce: randomUUID(), ...fields, ...overrides };
  };
  const apply = async (writes: readonly ResourceWrite[], on = store): Promise<readonly WriteResult[]> => {
    const answer = await on.resources.apply({ group, epoch: 0, writes }, CALL);
    return answer.status === "decided" ? answer.results : [];
  };
  const made = async (writes: readonly ResourceWrite[]): Promise<ResourceRow[]> =>
    (await apply(writes)).map(({ row }) => row as ResourceRow);
  const keysOfLedger = async (): Promise<string[]> => {
    const keys: string[] = [];
    for await (const page of client.scanIterator({ MATCH: `${prefix}*`, COUNT: 10_000 })) keys.push(...page);
    return keys;
  };

  it("lets one of two clients win each version, whichever driver it has", async () => {
    const other = new Redis(redisUrl());
    const others = redisStore(other as never, { keyPrefix: prefix });
    try {
      await apply([creation("counter", { attempt: 0 })]);
      let applied = 0;
      const count = async (on: LedgerStore): Promise<void> => {
        for (let round = 0; round < 25; round += 1) {
          const row = (await on.resources.get(group, "counter", CALL)) as ResourceRow;
          const [answer] = await apply([updateOf(row, { attempt: row.attempt + 1 })], on);
          if (answer?.status === "applied") applied += 1;
          expect(answer?.row?.version).toBeGreaterThan(row.version);
        }
      };
      await Promise.all([store, others, store, others].map(count));
      const row = await store.resources.get(group, "counter", CALL);
      expect([row?.attempt, row?.version]).toEqual([applied, applied + 1]);
      expect(applied).toBeGreaterThanOrEqual(25);
    } finally {
      await others.close();
      other.disconnect();
    }
  });

  it("begins anew, and says so, after the ledger was lost, though it has grown as far again", async () => {
    const lease = { durationMs: 1_000, token: "grant" } as const;
    const [before] = await made([creation("a", { lease }), creation("b", { lease })]);
    const { cursor } = await store.resources.changedSince({ group, limit: 9 }, CALL);
    await client.del(await keysOfLedger());
    const [after] = await made([creation("c", { lease }), creation("d", { lease })]);
    const changes = await store.resources.changedSince({ group, cursor, limit: 9 }, CALL);
    expect([changes.reset, changes.rows.map(({ id }) => id)]).toEqual([true, ["c", "d"]]);
    expect(after?.fencingToken).toBeGreaterThan(before?.fencingToken as number);
    expect(await store.resources.listGroups({ limit: 9 }, CALL), "its name is put down again").toEqual([group]);
  });

  it("puts no text of a user into the name of a key, and all of a group into one slot", async () => {
    const group = "a group {of} its own";
    await store.resources.apply({ group, epoch: 0, writes: [creation("an id {x}", { spec: "s" })] }, CALL);
    const keys = (await keysOfLedger()).map((key) => key.slice(prefix.length)).sort();
    const ofGroup = keys.filter((key) => key !== "{groups}:names");
    expect(keys.length - ofGroup.length).toBe(1);
    for (const key of ofGroup) expect(key).toMatch(/^\{g:[0-9a-f]{32}\}:(group|rows|specs|order|changes|silent)$/);
    expect(new Set(ofGroup.map((key) => key.slice(0, 36))).size).toBe(1);
    expect(ofGroup).toHaveLength(6);
  });

  it("answers in several steps what is too much for one", async () => {
    const ids = Array.from({ length: 2_500 }, (_, index) => `web-${String(index).padStart(4, "0")}`);
    for (let at = 0; at < ids.length; at += 500) await apply(ids.slice(at, at + 500).map((id) => creation(id)));
    const { resources } = store;
    const idsOf = (rows: readonly ResourceRow[]) => rows.map(({ id }) => id);
    expect(idsOf(await resources.list({ group, limit: 9_999 }, CALL))).toEqual(ids);
    expect(idsOf(await resources.list({ group, limit: 2_499 }, CALL))).toEqual(ids.slice(0, 2_499));
    expect(await resources.list({ group, limit: 1, states: ["FAILED"] }, CALL)).toEqual([]);
    const changes = await resources.changedSince({ group, limit: 9_999 }, CALL);
    expect(idsOf(changes.rows)).toEqual(ids);
    expect((await resources.changedSince({ group, limit: 9_999, cursor: changes.cursor }, CALL)).rows).toEqual([]);
    const some = await resources.changedSince({ group, limit: 1_700 }, CALL);
    expect(idsOf(some.rows)).toEqual(ids.slice(0, 1_700));
    expect(idsOf((await resources.changedSince({ group, limit: 2, cursor: some.cursor }, CALL)).rows)).toEqual(
      ids.slice(1_700, 1_702),
    );
    const stale = await resources.staleBefore({ group, ageMs: -1, limit: 9_999 }, CALL);
    expect(idsOf(stale.rows).sort()).toEqual(ids);
    expect(stale.nextInMs).toBeUndefined();
    const most = await resources.staleBefore({ group, ageMs: -1, limit: 2_499 }, CALL);
    expect([most.rows.length, most.nextInMs]).toEqual([2_499, 0]);

    const rows = await resources.list({ group, limit: 2_500 }, CALL);
    for (let at = 0; at < rows.length; at += 500) {
      await apply(rows.slice(at, at + 500).map((row) => updateOf(row, { state: "TERMINATED" })));
    }
    expect(idsOf(await resources.list({ group, limit: 9, states: ["TERMINATED"] }, CALL))).toEqual(ids.slice(0, 9));
    expect(await resources.purge({ group, ageMs: 0, limit: 1_200 }, CALL)).toEqual({ purged: 1_200 });
    expect(await resources.purge({ group, ageMs: 0, limit: 9_999 }, CALL)).toEqual({ purged: 1_300 });
    const left = (await keysOfLedger()).map((key) => key.slice(prefix.length).replace(/\{g:.*\}/, "{g}"));
    expect(left.sort()).toEqual(["{groups}:names", "{g}:group"]);
  });

  it("tells more names of groups than fit one answer", async () => {
    const names = Array.from({ length: 1_100 }, (_, index) => `group ${String(index).padStart(4, "0")}`);
    await Promise.all(
      names.map((group) => store.resources.setDesired({ group, epoch: 0, nonce: "n", desired: "1" }, CALL)),
    );
    expect(await store.resources.listGroups({ limit: 9_999 }, CALL)).toEqual(names);
    expect(await store.resources.listGroups({ limit: 1_050, after: "group 0009" }, CALL)).toEqual(
      names.slice(10, 1_060),
    );
  });

  it("keeps every character of large texts", async () => {
    const all: string[] = [];
    for (let point = 0; point <= 0x10ffff; point += 1) {
      if (point < 0xd800 || point > 0xdfff) all.push(String.fromCodePoint(point));
    }
    const text = all.join("");
    const many = Array.from({ length: 6 }, (_, index) => creation(`large-${index}`, { spec: text }));
    const [row] = await made([...many, creation("other", { externalId: text, reason: text })]);
    expect(row?.spec === text).toBe(true);
    const { resources } = store;
    const listed = await resources.list({ group, limit: 9 }, CALL);
    expect(listed.filter(({ spec }) => spec === text)).toHaveLength(6);
    expect(listed.at(-1)?.externalId === text && listed.at(-1)?.reason === text).toBe(true);
    const { rows } = await resources.changedSince({ group, limit: 9 }, CALL);
    expect(rows.filter(({ spec }) => spec === text)).toHaveLength(6);
    const stale = await resources.staleBefore({ group, ageMs: -1, limit: 9 }, CALL);
    expect(stale.rows.filter(({ spec }) => spec === text)).toHaveLength(6);
    const [stands] = await apply([creation("large-3")]);
    expect(stands?.status === "conflict" && stands.row?.spec === text).toBe(true);
    const [again] = await apply([many[4] as CreateResource]);
    expect(again?.status === "applied" && again.row.spec === text).toBe(true);
    await resources.setDesired({ group, epoch: 0, nonce: "n", desired: text }, CALL);
    await resources.apply({ group, epoch: 0, writes: [], status: text }, CALL);
    const { desired, status } = await resources.getDesired(group, CALL);
    expect(desired === text && status === text).toBe(true);
  });

  it("counts exactly up to the largest whole number", async () => {
    await apply([creation("web-0", { state: "PENDING" })]);
    const key = groupKeys(prefix, group)[0];
    const near = String(MOST - 2);
    await client.hSet(key, { epoch: near, generation: near, sequence: near, floor: near, token: near });
    await client.hSet(key, "desired", "9");
    const { resources } = store;
    expect(await resources.setDesired({ group, epoch: MOST - 1, nonce: "n", desired: "10" }, CALL)).toEqual({
      status: "set",
      generation: MOST - 1,
    });
    expect(await resources.getDesired(group, CALL)).toEqual({ generation: MOST - 1, desired: "10", epoch: MOST - 1 });
    const { cursor } = await resources.changedSince(
      { group, limit: 9, cursor: `${await client.hGet(key, "mark")}:${near}` },
      CALL,
    );
    const lease = { durationMs: MOST, token: "grant" } as const;
    const write = creation("web-1", { generation: MOST, attempt: MOST, lease, spec: "s" });
    const answer = await resources.apply({ group, epoch: MOST, writes: [write] }, CALL);
    const row = answer.status === "decided" ? answer.results[0]?.row : undefined;
    expect(row).toMatchObject({ incarnation: MOST - 1, fencingToken: MOST - 1, leaseExpiresAt: MOST });
    expect(row).toMatchObject({ generation: MOST, attempt: MOST });
    const changes = await resources.changedSince({ group, limit: 9, cursor }, CALL);
    expect([changes.rows.length, changes.reset]).toEqual([1, false]);
    expect((await resources.changedSince({ group, limit: 9, cursor: changes.cursor }, CALL)).rows).toEqual([]);
    expect(await resources.apply({ group, epoch: MOST - 1, writes: [] }, CALL)).toEqual({
      status: "fenced",
      epoch: MOST,
    });
    const beats = [
      { id: "web-1", incarnation: MOST - 1 },
      { id: "web-1", incarnation: MOST },
    ];
    expect(await resources.heartbeat({ group, beats }, CALL)).toEqual([{ status: "accepted" }, { status: "missing" }]);
    expect(await resources.get(group, "web-1", CALL)).toMatchObject({ incarnation: MOST - 1, generation: MOST });
  });
});
