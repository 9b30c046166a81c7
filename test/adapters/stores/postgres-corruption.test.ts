import type pg from "pg";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type PostgresStore, postgresStore } from "../../../adapters/stores/postgres.ts";
import { recoverAbandoned, withIdempotency } from "../../../src/index.ts";
import { describePostgres } from "../../support/engines.ts";
import { newPrefix, useDatabase } from "../../support/postgres-ledgers.ts";

describePostgres("a record in PostgreSQL that was tampered with", () => {
  const database = useDatabase();
  let pool: pg.Pool;
  let store: PostgresStore;
  let prefix: string;
  let runs: number;

  beforeEach(async () => {
    pool = await database.pool();
    prefix = newPrefix();
    store = postgresStore(pool, { tablePrefix: prefix });
    runs = 0;
  });
  afterEach(() => store.close());

  const once = () => withIdempotency((_: string) => ({ secret: ++runs }), { store, operation: "o", inFlight: "wait" });
  const change = (what: string) => pool.query(`UPDATE ${prefix}executions SET ${what}`);
  const rows = async (): Promise<unknown[]> => (await pool.query(`SELECT * FROM ${prefix}executions ORDER BY id`)).rows;

  it.each([
    "format = 99",
    "format = NULL",
    "status = 'banana'",
    "status = 'running'",
    "status = NULL",
    "attempt = 0",
    "token = -1",
    "token = 9007199254740993",
    "nonce = NULL",
    "scope = NULL",
    "created_at = -1",
    "retention_ms = 0",
    "expires_at = NULL",
    "expires_at = -1",
    "completed_at = NULL",
    "outcome_kind = 'gift'",
    "outcome_kind = 'error'",
    "outcome_kind = 'tombstone'",
    "outcome = NULL",
    "outcome = ''",
    "outcome = '\\x01'",
    "outcome = substr(outcome, 1, length(outcome) - 1)",
    "outcome = outcome || '\\x20'",
  ])("is RECORD_CORRUPT, runs nothing and stays as it is: SET %s", async (what) => {
    await once()("input", { key: "k" });
    await change(what);
    const before = await rows();
    await expect(once()("input", { key: "k" })).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
    expect(runs).toBe(1);
    expect(await rows()).toEqual(before);
  });

  it("is found out when two records swapped their outcomes", async () => {
    await once()("input", { key: "a" });
    await once()("input", { key: "b" });
    await pool.query(
      `UPDATE ${prefix}executions e SET outcome = o.outcome FROM ${prefix}executions o WHERE o.id <> e.id`,
    );
    for (const key of ["a", "b"]) {
      await expect(once()("input", { key })).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
    }
    expect(runs).toBe(2);
  });

  it("keeps its steps from being overwritten by a takeover when one of them can't be read", async () => {
    const call = { timeoutMs: 20_000 };
    const claim = { id: "0".repeat(64), operation: "o", scope: "", leaseMs: 60_000, retentionMs: 60_000 };
    const request = { ...claim, onAbandoned: "takeover", nonce: "n1" } as const;
    const held = await store.executions.claim(request, call);
    const token = held.status === "acquired" ? held.token : Number.NaN;
    const step = { position: 0, name: "s", outcome: { kind: "value", bytes: new Uint8Array([1]) } } as const;
    await store.executions.recordStep({ id: claim.id, token, nonce: "n1", step }, call);
    await pool.query(`UPDATE ${prefix}steps SET outcome_kind = 'gift'`);
    await change("lease_expires_at = 1");
    const before = await rows();
    await expect(store.executions.claim({ ...request, nonce: "n2" }, call)).rejects.toMatchObject({
      code: "RECORD_CORRUPT",
    });
    expect(await rows()).toEqual(before);
  });

  it("neither stops a sweep over the others nor is deleted by a purge", async () => {
    await once()("input", { key: "k" });
    await change("format = 99, expires_at = 1");
    expect(await recoverAbandoned({ store, resolver: () => "retry" })).toEqual({ completed: 0, retried: 0, left: 0 });
    expect(await store.executions.purge({ limit: 10 }, { timeoutMs: 20_000 })).toEqual({ purged: 0 });
    expect(await rows()).toHaveLength(1);
  });

  it("tells nothing of what it holds", async () => {
    await once()("input", { key: "very-secret-key" });
    await change("outcome = 'very-secret-value'");
    const error = await once()("input", { key: "very-secret-key" }).catch((thrown: Error) => thrown);
    expect(String((error as Error).stack)).not.toContain("very-secret");
  });

  it("refuses texts that PostgreSQL can't hold, by name of the rule", async () => {
    const claim = { id: "0".repeat(64), operation: "o", scope: "", leaseMs: 1_000, retentionMs: 1_000, nonce: "n" };
    for (const odd of ["a\0b", "\ud800"]) {
      for (const part of ["operation", "scope", "key"]) {
        const request = { ...claim, onAbandoned: "takeover", [part]: odd } as const;
        const answer = store.executions.claim(request, { timeoutMs: 20_000 });
        await expect(answer).rejects.toMatchObject({ code: "INVALID_OPTIONS", message: /NUL/ });
      }
    }
  });

  it("has fewer and fewer expired neighbours as the ledger is used", async () => {
    const short = withIdempotency(() => 1, { store, operation: "o", retentionMs: 1 });
    for (let from = 0; from < 640; from += 64) {
      await Promise.all(Array.from({ length: 64 }, (_, n) => short("input", { key: `k${from + n}` })));
    }
    expect((await rows()).length).toBeLessThan(200);
  });
});
