import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type SqliteHandle, type SqliteStore, sqliteStore } from "../../../adapters/stores/sqlite.ts";
import { sqliteExecutions } from "../../../adapters/stores/sqlite-executions.ts";
import { tablesOf } from "../../../adapters/stores/sqlite-schema.ts";
import { useTemporaryFolder } from "../../support/sqlite-files.ts";

const CALL = { timeoutMs: 5_000 };
const id = (index: number): string => index.toString().padStart(64, "0");

describe("the recent executions of a ledger in SQLite", () => {
  const { database } = useTemporaryFolder();
  let handle: SqliteHandle;
  let store: SqliteStore;
  beforeEach(async () => {
    handle = database();
    store = sqliteStore(handle);
    for (let index = 0; index < 10; index += 1) {
      const asked = { id: id(index), operation: "o", scope: "", nonce: "n", leaseMs: 60_000, retentionMs: 60_000 };
      await store.executions.claim({ ...asked, onAbandoned: "takeover" }, CALL);
    }
    handle.exec("UPDATE evenkeel_executions SET created_at = created_at + CAST(id AS INTEGER)");
  });
  afterEach(() => store.close());

  const recent = async (limit: number): Promise<number[]> =>
    (await store.executions.recent({ limit }, CALL)).map((view) => Number(view.id));

  it("are read along their index, and the expired ones counted along theirs", async () => {
    const asked: string[] = [];
    const connection = {
      read: async (_call: unknown, work: (on: unknown) => unknown) =>
        work({
          statement: (sql: string) => {
            asked.push(sql);
            return { all: () => [], get: () => ({ count: 0 }) };
          },
        }),
    };
    const options = { connection, tables: tablesOf("evenkeel_"), clock: { now: () => 0 }, storeKeys: true };
    const executions = sqliteExecutions(options as never);
    await executions.recent({ limit: 5 }, CALL);
    await executions.countExpired(CALL);
    const plans = asked.map((sql) => {
      const values = (sql.match(/\?/g) ?? []).map(() => null);
      return handle
        .prepare(`EXPLAIN QUERY PLAN ${sql}`)
        .all(...values)
        .map((step) => (step as { detail: string }).detail)
        .join("; ");
    });
    expect(plans[0]).toMatch(/SCAN evenkeel_executions USING INDEX evenkeel_executions_by_creation/);
    expect(plans[0]).not.toMatch(/TEMP B-TREE FOR ORDER BY/);
    expect(plans[1]).toMatch(/SEARCH evenkeel_executions USING INDEX evenkeel_executions_by_expiry/);
  });

  it.each([
    ["a newer format", "format = 2"],
    ["a moment that is a text", "created_at = 'soon'"],
    ["a key that is bytes", "key = x'00'"],
    ["a fingerprint that is bytes", "fingerprint = x'07'"],
    ["a token that is negative", "token = -1"],
  ])("are others where one has %s, and as many as are asked for", async (_what, change) => {
    handle.exec(`UPDATE evenkeel_executions SET ${change} WHERE id IN ('${id(8)}', '${id(6)}', '${id(5)}')`);
    expect(await recent(4)).toEqual([9, 7, 4, 3]);
    expect(await recent(1)).toEqual([9]);
    expect(await recent(100)).toEqual([9, 7, 4, 3, 2, 1, 0]);
  });
});
