import { inspect } from "node:util";
import type pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type PostgresStore, postgresStore } from "../../../adapters/stores/postgres.ts";
import type { CreateResource, ResourceRow, ResourceStore, UpdateResource } from "../../../src/store.ts";
import { describePostgres } from "../../support/engines.ts";
import { newPrefix, useDatabase } from "../../support/postgres-ledgers.ts";
import { until } from "../../support/until.ts";

const CALL = { timeoutMs: 30_000 };
const group = "workers";

describePostgres("resources of postgresStore", () => {
  const database = useDatabase();
  let pool: pg.Pool;
  let prefix: string;
  let store: PostgresStore;
  let resources: ResourceStore;

  beforeEach(async () => {
    pool = await database.pool();
    prefix = newPrefix();
    store = postgresStore(pool, { tablePrefix: prefix });
    ({ resources } = store);
  });
  afterEach(() => store.close());

  const rowsOf = async (table: "groups" | "resources"): Promise<unknown[]> =>
    (await pool.query(`SELECT * FROM ${prefix}${table} ORDER BY 1, 2, 3`)).rows;

  async function made(...writes: readonly CreateResource[]): Promise<ResourceRow[]> {
    const answer = await resources.apply({ group, epoch: 0, writes }, CALL);
    if (answer.status === "fenced") throw new Error("fenced");
    return answer.results.map(({ row }) => row as ResourceRow);
  }

  describe("texts that PostgreSQL can't hold", () => {
    const odd = "NUL \0, escape \u0010, \u00100000, halves \ud83d and \udd80\ud83d, whole \u{1f980}, end \0";

    it("come back as they were", async () => {
      const [row] = await made(creation({ spec: odd, externalId: odd, reason: odd }));
      expect(row).toMatchObject({ spec: odd, externalId: odd, reason: odd });
      expect(await resources.get(group, "web-1", CALL)).toMatchObject({ spec: odd, externalId: odd, reason: odd });
      const conflict = await resources.apply({ group, epoch: 0, writes: [creation()], status: odd }, CALL);
      expect(conflict).toMatchObject({ results: [{ status: "conflict", row: { spec: odd, reason: odd } }] });
      await resources.setDesired({ group, epoch: 0, nonce: "n", desired: odd }, CALL);
      expect(await resources.getDesired(group, CALL)).toMatchObject({ desired: odd, status: odd });
    });

    it("are told apart when they are desired", async () => {
      for (const [index, desired] of ["a\0", "a\u00100000", "a\ud83d", "a\ufffd"].entries()) {
        const answer = await resources.setDesired({ group, epoch: 0, nonce: "n", desired }, CALL);
        expect(answer).toEqual({ status: "set", generation: index + 1 });
      }
    });

    it.each(["a\0b", "\ud83d", "\udd80\ud83d"])("are refused where they would name something: %j", async (id) => {
      const calls = [
        resources.get(group, id, CALL),
        resources.get(id, "web-1", CALL),
        resources.getDesired(id, CALL),
        resources.setDesired({ group: id, epoch: 0, nonce: "n", desired: "1" }, CALL),
        resources.apply({ group, epoch: 0, writes: [creation({ id })] }, CALL),
        resources.apply({ group, epoch: 0, writes: [creation({ nonce: id })] }, CALL),
        resources.apply({ group, epoch: 0, writes: [], fences: [{ name: id, epoch: 0 }] }, CALL),
        resources.heartbeat({ group, beats: [{ id }] }, CALL),
        resources.list({ group, limit: 1, after: { id, incarnation: 1 } }, CALL),
        resources.listGroups({ limit: 1, after: id }, CALL),
        resources.purge({ group: id, ageMs: 1, limit: 1 }, CALL),
      ];
      expect(new Set(await codesOf(calls))).toEqual(new Set(["INVALID_OPTIONS"]));
    });

    it("make a cursor one that nobody gave out", async () => {
      await made(creation());
      for (const cursor of ["\0:1", "\ud83d:1", "1.\0:1", "1.1:9999999999999999", `1.1:${"9".repeat(40)}`]) {
        expect(await resources.changedSince({ group, limit: 9, cursor }, CALL)).toMatchObject({ reset: true });
      }
    });
  });

  describe("a row that was tampered with", () => {
    const tamper = (change: string): Promise<unknown> =>
      pool.query(`UPDATE ${prefix}resources SET ${change} WHERE id = 'web-2'`);

    it.each([
      "format = 2",
      "format = NULL",
      "state = 'BANANA'",
      "state = NULL",
      "state = 'PROVISIONED', provisioned_at = NULL",
      "incarnation = 0",
      "generation = NULL",
      "attempt = -1",
      "fencing_token = NULL",
      "created_at = NULL",
      "state_changed_at = 9007199254740992",
      "last_heartbeat_at = -1",
      "lease_expires_at = -1",
      "version = 0",
      "nonce = NULL",
      "sequence = NULL",
    ])("is RECORD_CORRUPT, stays as it is and hides no other: SET %s", async (change) => {
      await made(...["web-1", "web-2", "web-3"].map((id) => creation({ id, state: "TERMINATED" })));
      await tamper(change);
      const before = [await rowsOf("groups"), await rowsOf("resources")];
      const [{ incarnation }] = (await pool.query(`SELECT incarnation FROM ${prefix}resources WHERE id = 'web-2'`))
        .rows;
      const writes = [
        creation({ id: "web-4" }),
        updateOf({ id: "web-2", incarnation: Number(incarnation), version: 1 }),
      ];
      const refused = [
        resources.get(group, "web-2", CALL),
        resources.apply({ group, epoch: 7, writes, status: "not kept" }, CALL),
        resources.apply({ group, epoch: 7, writes: [creation({ id: "web-2", after: 1 })] }, CALL),
        resources.heartbeat({ group, beats: [{ id: "web-1" }, { id: "web-2" }] }, CALL),
      ];
      expect(new Set(await codesOf(refused))).toEqual(new Set(["RECORD_CORRUPT"]));
      const ids = (rows: readonly ResourceRow[]): string[] => rows.map(({ id }) => id);
      expect(ids(await resources.list({ group, limit: 9 }, CALL))).toEqual(["web-1", "web-3"]);
      expect(ids((await resources.changedSince({ group, limit: 9 }, CALL)).rows)).toEqual(["web-1", "web-3"]);
      expect([await rowsOf("groups"), await rowsOf("resources")]).toEqual(before);
      expect(await resources.purge({ group, ageMs: 0, limit: 9 }, CALL)).toEqual({ purged: 2 });
      expect((await rowsOf("resources")).length).toBe(1);
    });

    it("is left out of those that are silent, and does not stand before them", async () => {
      await made(...["web-1", "web-2", "web-3"].map((id) => creation({ id, state: "PROVISIONED" })));
      await pool.query(`UPDATE ${prefix}resources SET provisioned_at = created_at - 1000 + right(id, 1)::int`);
      await pool.query(`UPDATE ${prefix}resources SET format = 2 WHERE id = 'web-1'`);
      const { rows, nextInMs } = await resources.staleBefore({ group, ageMs: 500, limit: 1 }, CALL);
      expect([rows.map(({ id }) => id), nextInMs]).toEqual([["web-2"], 0]);
    });

    it("is no matter to the older incarnations of its id", async () => {
      await made(creation({ id: "web-2", state: "PROVISIONED" }), creation({ id: "web-2", after: 1 }));
      await tamper("format = CASE incarnation WHEN 2 THEN 9 ELSE 1 END");
      const writes = [updateOf({ id: "web-2", incarnation: 1, version: 1 })];
      const answer = await resources.apply({ group, epoch: 0, writes }, CALL);
      expect(answer).toMatchObject({ status: "decided", results: [{ status: "applied" }] });
    });
  });

  it.each([
    "format = 2",
    "mark = NULL",
    "mark = 'a:b'",
    "epoch = -1",
    "generation = NULL",
    "sequence = NULL",
    "floor = NULL",
  ])("tells of a group that was tampered with, and leaves it as it is: SET %s", async (change) => {
    await made(creation());
    await pool.query(`UPDATE ${prefix}groups SET ${change}`);
    const before = await rowsOf("groups");
    const refused = [
      resources.getDesired(group, CALL),
      resources.setDesired({ group, epoch: 1, nonce: "n", desired: "1" }, CALL),
      resources.apply({ group, epoch: 1, writes: [creation({ id: "web-2" })] }, CALL),
      resources.heartbeat({ group, beats: [{ id: "web-1" }] }, CALL),
      resources.changedSince({ group, limit: 9 }, CALL),
      resources.purge({ group, ageMs: 0, limit: 9 }, CALL),
    ];
    expect(new Set(await codesOf(refused))).toEqual(new Set(["RECORD_CORRUPT"]));
    expect(await rowsOf("groups")).toEqual(before);
    expect(await rowsOf("resources")).toMatchObject([{ id: "web-1", last_heartbeat_at: null }]);
  });

  it("reads while somebody holds the group, and leaves no statement waiting behind that nobody waits for", async () => {
    const [row] = await made(creation({ state: "PROVISIONED" }));
    const holder = await pool.connect();
    try {
      await holder.query("BEGIN");
      await holder.query(`SELECT FROM ${prefix}groups FOR UPDATE`);
      await holder.query(`SELECT FROM ${prefix}resources FOR UPDATE`);
      const { cursor, rows } = await resources.changedSince({ group, limit: 9 }, CALL);
      expect(rows.length).toBe(1);
      expect(await resources.get(group, "web-1", CALL)).toMatchObject({ version: 1 });
      const short = { timeoutMs: 300 };
      const calls = await Promise.allSettled([
        resources.setDesired({ group, epoch: 0, nonce: "n", desired: "1" }, short),
        resources.heartbeat({ group, beats: [{ id: "web-1" }] }, short),
      ]);
      for (const call of calls) {
        expect(call).toMatchObject({ reason: { code: "STORE_UNAVAILABLE", cause: expect.any(Error) } });
      }
      await until("nobody waits for a lock", async () => {
        const { rows: waiting } = await pool.query(
          "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        );
        return waiting.length === 0;
      });
      expect((await resources.changedSince({ group, cursor, limit: 9 }, CALL)).cursor).toBe(cursor);
    } finally {
      await holder.query("ROLLBACK");
      holder.release();
    }
    expect(await resources.get(group, "web-1", CALL)).toEqual({ ...row, readAt: expect.any(Number) });
  });
});

/** The codes of errors that tell nothing of what is stored. */
async function codesOf(calls: readonly Promise<unknown>[]): Promise<unknown[]> {
  const answers = await Promise.allSettled(calls);
  return answers.map((answer) => {
    if (answer.status === "fulfilled") return answer.value;
    expect(inspect(answer.reason, { depth: 9 })).not.toContain("web-");
    return answer.reason.code;
  });
}

let nonces = 0;

function creation(overrides: Partial<CreateResource> = {}): CreateResource {
  nonces += 1;
  const asked = {
    id: "web-1",
    after: 0,
    nonce: `nonce ${nonces}`,
    state: "PENDING",
    generation: 1,
    attempt: 1,
  } as const;
  return { kind: "create", ...asked, ...overrides };
}

function updateOf({ id, incarnation, version }: Pick<ResourceRow, "id" | "incarnation" | "version">): UpdateResource {
  nonces += 1;
  const asked = { nonce: `nonce ${nonces}`, state: "FAILED", generation: 1, attempt: 1 } as const;
  return { kind: "update", id, incarnation, expectedVersion: version, ...asked };
}
