import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type SqliteHandle, type SqliteStore, sqliteStore } from "../../../adapters/stores/sqlite.ts";
import { recoverAbandoned, withIdempotency } from "../../../src/index.ts";
import { openDatabase, temporaryFolder } from "../../support/sqlite-files.ts";

let folder: ReturnType<typeof temporaryFolder>;
let db: SqliteHandle;
let store: SqliteStore;
let runs: number;

beforeEach(() => {
  folder = temporaryFolder();
  db = openDatabase(folder.file("ledger.db"));
  store = sqliteStore(db);
  runs = 0;
});
afterEach(async () => {
  await store.close();
  db.close();
  folder.remove();
});

const once = () => withIdempotency((_: string) => ({ secret: ++runs }), { store, operation: "o", inFlight: "wait" });

const rows = (): unknown[] => db.prepare("SELECT * FROM evenkeel_executions ORDER BY id").all();

describe("a record that was tampered with", () => {
  it.each([
    "format = 99",
    "status = 'banana'",
    "status = 'running'",
    "attempt = 'two'",
    "token = 1.5",
    "nonce = x'00'",
    "expires_at = 'never'",
    "completed_at = NULL",
    "outcome_kind = 'gift'",
    "outcome_kind = 'error'",
    "outcome_kind = 'tombstone'",
    "outcome = NULL",
    "outcome = 'text'",
    "outcome = x''",
    "outcome = x'01'",
    "outcome = substr(outcome, 1, length(outcome) - 1)",
    "outcome = CAST(outcome || ' ' AS BLOB)",
    "operation = x'6f'",
  ])("is RECORD_CORRUPT, runs nothing and stays as it is: SET %s", async (change) => {
    await once()("input", { key: "k" });
    db.exec(`UPDATE evenkeel_executions SET ${change}`);
    const before = rows();
    await expect(once()("input", { key: "k" })).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
    expect(runs).toBe(1);
    expect(rows()).toEqual(before);
  });

  it("does not disturb the calls that share its transaction", async () => {
    await once()("input", { key: "broken" });
    db.exec("UPDATE evenkeel_executions SET format = 99");
    const call = once();
    const [broken, ...others] = await Promise.allSettled(
      ["broken", "a", "b", "c"].map((key) => call("input", { key })),
    );
    expect(broken).toMatchObject({ status: "rejected", reason: { code: "RECORD_CORRUPT" } });
    expect(others.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "fulfilled"]);
  });

  it("is found out when two records swapped their outcomes", async () => {
    await once()("input", { key: "a" });
    await once()("input", { key: "b" });
    const [one, two] = rows() as { id: string; outcome: Uint8Array }[];
    const update = db.prepare("UPDATE evenkeel_executions SET outcome = ? WHERE id = ?");
    update.run(two?.outcome ?? null, one?.id ?? null);
    update.run(one?.outcome ?? null, two?.id ?? null);
    for (const key of ["a", "b"]) {
      await expect(once()("input", { key })).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
    }
    expect(runs).toBe(2);
  });

  it("tells nothing of what it holds", async () => {
    await once()("input", { key: "very-secret-key" });
    db.exec("UPDATE evenkeel_executions SET outcome = 'very-secret-value'");
    const error = await once()("input", { key: "very-secret-key" }).catch((thrown: Error) => thrown);
    expect(String((error as Error).stack)).not.toContain("very-secret");
  });

  it("neither stops a sweep over the others nor is deleted by a purge", async () => {
    await once()("input", { key: "k" });
    db.exec("UPDATE evenkeel_executions SET format = 99, expires_at = 1");
    expect(await recoverAbandoned({ store, resolver: () => "retry" })).toEqual({ completed: 0, retried: 0, left: 0 });
    expect(await store.executions.purge({ limit: 10 }, { timeoutMs: 1_000 })).toEqual({ purged: 0 });
    expect(rows()).toHaveLength(1);
  });

  it("whose fencing counter is gone grants no claim", async () => {
    await once()("input", { key: "k" });
    db.exec("DELETE FROM evenkeel_fencing");
    await expect(once()("input", { key: "new" })).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
    expect(runs).toBe(1);
  });
});

it("tokens rise across release, expiry, purge and a restart (I3)", async () => {
  const tokens: number[] = [];
  const take = async (options: object = {}): Promise<void> => {
    const ledger = sqliteStore(folder.file("ledger.db"));
    const call = withIdempotency(
      (_: string, ctx) => {
        tokens.push(ctx.fencingToken);
        throw new Error("released");
      },
      { store: ledger, operation: "o", ...options },
    );
    await call("input", { key: "k" }).catch(() => {});
    await ledger.close();
  };
  await take();
  await take({ onError: "store", retentionMs: 1 });
  await new Promise((resolve) => setTimeout(resolve, 5));
  await take();
  db.exec("DELETE FROM evenkeel_executions");
  await take();
  expect(tokens).toHaveLength(4);
  expect([...tokens].sort((a, b) => a - b)).toEqual(tokens);
  expect(new Set(tokens).size).toBe(4);
});
