import { readFile } from "node:fs/promises";
import type pg from "pg";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type PostgresStore, postgresStore } from "../../../adapters/stores/postgres.ts";
import type { ClaimRequest } from "../../../src/store.ts";
import { describePostgres } from "../../support/engines.ts";
import { newPrefix, useDatabase } from "../../support/postgres-ledgers.ts";

const CALL = { timeoutMs: 20_000 };

const claimOf = (id: string): ClaimRequest => ({
  id,
  operation: "o",
  scope: "",
  nonce: `nonce of ${id}`,
  leaseMs: 60_000,
  retentionMs: 60_000,
  onAbandoned: "takeover",
});

describePostgres("a sequence that is behind the rows, as after a logical replication", () => {
  const database = useDatabase();
  let pool: pg.Pool;
  let store: PostgresStore;
  let prefix: string;

  beforeEach(async () => {
    pool = await database.pool();
    prefix = newPrefix();
    store = postgresStore(pool, { tablePrefix: prefix });
    await store.migrate();
    await pool.query(`SELECT setval('${prefix}tokens', 25)`);
  });
  afterEach(() => store.close());

  const fallBack = () => pool.query(`SELECT setval('${prefix}tokens', 1)`);

  const claimedToken = async (nonce: string): Promise<number> => {
    const claimed = await store.executions.claim({ ...claimOf("k"), nonce }, CALL);
    if (claimed.status !== "acquired") throw new Error(claimed.status);
    return claimed.token;
  };

  it.each(["lease_expires_at = 1", "expires_at = 1"])("lets an execution's tokens rise (%s)", async (over) => {
    const first = await claimedToken("one");
    await fallBack();
    await pool.query(`UPDATE ${prefix}executions SET ${over}`);
    expect(first).toBe(26);
    expect(await claimedToken("two")).toBeGreaterThan(first);
  });

  it("lets a lease's epochs rise", async () => {
    const acquire = async (holder: string): Promise<number> => {
      const answer = await store.leases.acquire({ name: "l", holder, nonce: holder, durationMs: 60_000 }, CALL);
      return answer.epoch;
    };
    const first = await acquire("one");
    await fallBack();
    await pool.query(`UPDATE ${prefix}leases SET expires_at = 1`);
    expect(await acquire("two")).toBeGreaterThan(first);
  });

  it("lets a resource's fencing tokens rise, over its incarnations too", async () => {
    const fields = { id: "r", generation: 1, attempt: 1, lease: { durationMs: 60_000, token: "grant" } } as const;
    const apply = async (write: object) => {
      const writes = [{ ...fields, ...write }] as never;
      const answer = await store.resources.apply({ group: "g", epoch: 1, writes }, CALL);
      if (answer.status !== "decided") throw new Error(answer.status);
      const [result] = answer.results;
      return result?.row?.fencingToken ?? Number.NaN;
    };
    const first = await apply({ kind: "create", nonce: "1", state: "PENDING", after: 0 });
    await fallBack();
    const update = { kind: "update", incarnation: 1, state: "TERMINATED", expectedVersion: 1 };
    const second = await apply({ ...update, nonce: "2" });
    await fallBack();
    const third = await apply({ kind: "create", nonce: "3", state: "PENDING", after: 1 });
    expect(first).toBeGreaterThan(0);
    expect(second).toBeGreaterThan(first);
    expect(third).toBeGreaterThan(second);
  });

  it("gives no token twice when many notice at once", async () => {
    const ids = Array.from({ length: 40 }, (_, n) => `id ${n}`);
    await Promise.all(ids.map((id) => store.executions.claim(claimOf(id), CALL)));
    await fallBack();
    await pool.query(`UPDATE ${prefix}executions SET lease_expires_at = 1, token = token * 1000000`);
    const stored = new Map<string, number>();
    for (const { id, token } of (await pool.query(`SELECT id, token::float8 FROM ${prefix}executions`)).rows) {
      stored.set(id, token);
    }
    const others = Array.from({ length: 4 }, () => postgresStore(pool, { tablePrefix: prefix }));
    const claimed = await Promise.all(
      ids.map((id, n) => others[n % 4]?.executions.claim({ ...claimOf(id), nonce: `again ${id}` }, CALL)),
    );
    const tokens = claimed.map((answer) => (answer?.status === "acquired" ? answer.token : 0));
    expect(new Set(tokens).size).toBe(40);
    for (const [n, id] of ids.entries()) expect(tokens[n]).toBeGreaterThan(stored.get(id) ?? Number.NaN);
    await Promise.all(others.map((other) => other.close()));
  });

  it("is set ahead by what docs/postgres.md says to run after a restore", async () => {
    await claimedToken("one");
    await fallBack();
    const manual = await readFile(new URL("../../../docs/postgres.md", import.meta.url), "utf8");
    const [statement = ""] = /^SELECT setval[^`]*/m.exec(manual) ?? [];
    const { rows } = await pool.query(statement.replaceAll("evenkeel_", prefix));
    expect(rows).toEqual([{ setval: "1000026" }]);
  });

  it("is not used up by one broken row", async () => {
    await claimedToken("one");
    await pool.query(`UPDATE ${prefix}executions SET lease_expires_at = 1, token = ${Number.MAX_SAFE_INTEGER}`);
    await expect(claimedToken("two")).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    expect(await store.executions.claim(claimOf("another"), CALL)).toMatchObject({ status: "acquired" });
  });
});
