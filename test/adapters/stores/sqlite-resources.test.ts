import { describe, expect, it } from "vitest";
import { type SqliteStore, sqliteStore } from "../../../adapters/stores/sqlite.ts";
import { resourceStatements } from "../../../adapters/stores/sqlite-resource-statements.ts";
import { tablesOf } from "../../../adapters/stores/sqlite-schema.ts";
import type { CreateResource, ResourceRow } from "../../../src/store.ts";
import { ManualClock } from "../../../src/testing/index.ts";
import { useTemporaryFolder } from "../../support/sqlite-files.ts";

const CALL = { timeoutMs: 30_000 };
const GROUP = "workers";

const { folder, database } = useTemporaryFolder();

function creation(id: string, overrides: Partial<CreateResource> = {}): CreateResource {
  const identity = { kind: "create", id, after: 0, nonce: `creation of ${id}` } as const;
  return { ...identity, state: "PROVISIONED", generation: 1, attempt: 1, ...overrides };
}

async function create(store: SqliteStore, ...writes: CreateResource[]): Promise<ResourceRow[]> {
  const answer = await store.resources.apply({ group: GROUP, epoch: 0, writes }, CALL);
  if (answer.status === "fenced") throw new Error("fenced");
  return answer.results.map(({ row }) => row as ResourceRow);
}

describe("the indexes behind a pass at rest", () => {
  const statements = resourceStatements(tablesOf("evenkeel_"));

  it.each([
    ["changes", "by_change"],
    ["longestSilent", "by_silence"],
    ["purgeable", "terminated"],
    ["newest", "sqlite_autoindex"],
    ["load", "sqlite_autoindex"],
    ["stamp", "sqlite_autoindex"],
    ["list", "sqlite_autoindex"],
    ["loadFence", "sqlite_autoindex"],
  ] as const)("answer %s, which reads no other rows and sorts none", async (name, index) => {
    const db = database();
    await sqliteStore(db).migrate();
    const sql = statements[name];
    const values = Array.from(sql.matchAll(/\?/g), () => 1);
    const plan = db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...values) as { detail: string }[];
    const steps = plan.map(({ detail }) => detail);
    const onRows = steps.filter((step) => /evenkeel_(resources|fences)/.test(step));
    expect(onRows.length).toBeGreaterThan(0);
    for (const step of onRows) expect(step).toMatch(new RegExp(`^SEARCH .*USING .*INDEX .*${index}`));
    expect(steps.filter((step) => step.includes("TEMP B-TREE"))).toEqual([]);
  });

  it("make a pass over 100,000 rows at rest no dearer than over 100", async () => {
    const clock = new ManualClock(Date.now());
    const store = sqliteStore(folder.file("ledger.db"), { clock, synchronous: "normal" });
    const pass = async (cursor: string): Promise<number> => {
      const before = process.cpuUsage();
      for (let turn = 0; turn < 200; turn += 1) {
        expect((await store.resources.changedSince({ group: GROUP, cursor, limit: 1_000 }, CALL)).rows).toEqual([]);
        const stale = await store.resources.staleBefore({ group: GROUP, ageMs: 30_000, limit: 1_000 }, CALL);
        expect(stale).toEqual({ rows: [], nextInMs: 30_001 });
      }
      const { user, system } = process.cpuUsage(before);
      return user + system;
    };
    let cursor = "";
    const grow = async (from: number, to: number): Promise<void> => {
      for (let first = from; first < to; first += 1_000) {
        const ids = Array.from({ length: Math.min(1_000, to - first) }, (_, index) => `web-${first + index}`);
        await create(store, ...ids.map((id) => creation(id)));
      }
      const last = await store.resources.changedSince({ group: GROUP, limit: to }, CALL);
      expect(last.rows).toHaveLength(to);
      cursor = last.cursor;
    };
    await grow(0, 100);
    await pass(cursor);
    const few = await pass(cursor);
    await grow(100, 100_000);
    const many = await pass(cursor);
    // A scan would cost a thousand times as much.
    expect(many).toBeLessThan(few * 10);
    await store.close();
  });
});

describe("a resource's row that was tampered with", () => {
  it.each([
    "format = 99",
    "state = 'banana'",
    "incarnation = 1.5",
    "version = 'two'",
    "version = 0",
    "generation = -1",
    "nonce = x'00'",
    "spec = x'00'",
    "created_at = 'never'",
    "provisioned_at = 'never'",
    "lease_expires_at = 1.5",
  ])("is RECORD_CORRUPT for everybody who needs it, and stays as it is: SET %s", async (change) => {
    const clock = new ManualClock();
    const db = database();
    const store = sqliteStore(db, { clock });
    const [row] = await create(store, creation("web-1"), creation("web-2"));
    db.exec(`UPDATE evenkeel_resources SET ${change} WHERE id = 'web-1'`);
    await clock.advance(60_000);
    const rows = (): unknown[] => db.prepare("SELECT * FROM evenkeel_resources").all();
    const before = rows();
    const { resources } = store;
    const update = {
      ...creation("web-1"),
      kind: "update",
      incarnation: 1,
      expectedVersion: row?.version ?? 0,
    } as const;
    const calls: Promise<unknown>[] = [
      resources.get(GROUP, "web-1", CALL),
      resources.list({ group: GROUP, limit: 10 }, CALL),
      resources.changedSince({ group: GROUP, limit: 10 }, CALL),
      resources.staleBefore({ group: GROUP, ageMs: 1, limit: 10 }, CALL),
      resources.heartbeat({ group: GROUP, beats: [{ id: "web-2" }, { id: "web-1" }] }, CALL),
      resources.apply({ group: GROUP, epoch: 1, writes: [creation("web-3"), creation("web-1")] }, CALL),
    ];
    // Without its number the row can't be named.
    if (!change.startsWith("incarnation"))
      calls.push(resources.apply({ group: GROUP, epoch: 1, writes: [update] }, CALL));
    for (const call of await Promise.allSettled(calls)) {
      expect(call).toMatchObject({ status: "rejected", reason: { code: "RECORD_CORRUPT" } });
    }
    expect(rows()).toEqual(before);
    expect(await resources.get(GROUP, "web-2", CALL)).toMatchObject({ id: "web-2" });
    await store.close();
  });

  it.each(["format = 99", "epoch = 'two'", "epoch = -1", "sequence = 1.5", "mark = x'00'", "desired = x'00'"])(
    "fails every write to its group where it is the group's own: SET %s",
    async (change) => {
      const db = database();
      const store = sqliteStore(db);
      await create(store, creation("web-1"));
      db.exec(`UPDATE evenkeel_groups SET ${change}`);
      const { resources } = store;
      const calls = [
        resources.getDesired(GROUP, CALL),
        resources.setDesired({ group: GROUP, epoch: 9, nonce: "n", desired: "10" }, CALL),
        resources.apply({ group: GROUP, epoch: 9, writes: [creation("web-2")] }, CALL),
        resources.heartbeat({ group: GROUP, beats: [{ id: "web-1" }] }, CALL),
        resources.changedSince({ group: GROUP, limit: 1 }, CALL),
        resources.purge({ group: GROUP, ageMs: 1, limit: 1 }, CALL),
      ];
      for (const call of await Promise.allSettled(calls)) {
        expect(call).toMatchObject({ status: "rejected", reason: { code: "RECORD_CORRUPT" } });
      }
      expect(db.prepare("SELECT count(*) AS n FROM evenkeel_resources").get()).toMatchObject({ n: 1 });
      await store.close();
    },
  );

  it("is not deleted by a purge, which deletes the others", async () => {
    const clock = new ManualClock();
    const db = database();
    const store = sqliteStore(db, { clock });
    await create(store, ...["a", "b", "c"].map((id) => creation(id, { state: "TERMINATED" })));
    db.exec("UPDATE evenkeel_resources SET format = 99 WHERE id = 'a'");
    db.exec("UPDATE evenkeel_resources SET incarnation = 1.5 WHERE id = 'b'");
    await clock.advance(60_000);
    expect(await store.resources.purge({ group: GROUP, ageMs: 1, limit: 2 }, CALL)).toEqual({ purged: 1 });
    expect(db.prepare("SELECT id FROM evenkeel_resources ORDER BY id").all()).toEqual([{ id: "a" }, { id: "b" }]);
    await store.close();
  });
});

describe("a ledger that is opened again", () => {
  it("goes on raising incarnations, tokens and epochs, and knows its cursors", async () => {
    const rows: ResourceRow[] = [];
    const lease = { durationMs: 1_000, token: "grant" } as const;
    let cursor: string | undefined;
    const clock = new ManualClock();
    for (let round = 1; round <= 3; round += 1) {
      const store = sqliteStore(folder.file("ledger.db"), { clock });
      rows.push(...(await create(store, creation("web-1", { state: "TERMINATED", lease, nonce: `round ${round}` }))));
      const at = cursor === undefined ? {} : { cursor };
      const changes = await store.resources.changedSince({ group: GROUP, limit: 10, ...at }, CALL);
      expect(changes).toMatchObject({ rows: [{ id: "web-1", incarnation: rows.at(-1)?.incarnation }], reset: false });
      cursor = changes.cursor;
      await clock.advance(60_000);
      expect(await store.resources.purge({ group: GROUP, ageMs: 1, limit: 10 }, CALL)).toEqual({ purged: 1 });
      await store.close();
    }
    expect(rows.map(({ incarnation }) => incarnation)).toEqual([1, 2, 3]);
    const tokens = rows.map(({ fencingToken }) => fencingToken);
    expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => a - b));
  });

  it("is not taken for one that was lost", async () => {
    const clock = new ManualClock();
    const cursors: string[] = [];
    for (const name of ["lost.db", "made-anew.db"]) {
      const store = sqliteStore(folder.file(name), { clock });
      await create(store, creation("web-1"));
      const [cursor] = cursors;
      const at = cursor === undefined ? {} : { cursor };
      const changes = await store.resources.changedSince({ group: GROUP, limit: 10, ...at }, CALL);
      expect(changes.reset).toBe(cursor !== undefined);
      expect(changes.rows).toHaveLength(1);
      cursors.push(changes.cursor);
      await store.close();
      await clock.advance(1);
    }
  });
});

describe("leases that nobody asks for again", () => {
  it("are deleted an hour after they lapsed, and take no epoch along", async () => {
    const clock = new ManualClock();
    const db = database();
    const { leases, close } = sqliteStore(db, { clock });
    const acquire = (name: string) => leases.acquire({ name, holder: "a", nonce: "n", durationMs: 1_000 }, CALL);
    const names = (): unknown[] => {
      const rows = db.prepare("SELECT name FROM evenkeel_leases ORDER BY name").all() as { name: string }[];
      return rows.map(({ name }) => name);
    };
    await acquire("old");
    await acquire("older");
    await clock.advance(2_000);
    await acquire("a");
    expect(names()).toEqual(["a", "old", "older"]);
    expect(await leases.renew({ name: "old", holder: "a", epoch: 1, durationMs: 1 }, CALL)).toEqual({ status: "lost" });
    await clock.advance(3_599_000);
    await acquire("b");
    expect(names()).toEqual(["a", "b"]);
    expect(await acquire("old")).toMatchObject({ status: "acquired", epoch: 5 });
    await close();
  });
});
