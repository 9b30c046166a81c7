import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type PostgresStore, postgresStore } from "../../../adapters/stores/postgres.ts";
import { withIdempotency } from "../../../src/index.ts";
import type { ResourceWrite } from "../../../src/store.ts";
import { describePostgres } from "../../support/engines.ts";
import { useDatabase } from "../../support/postgres-ledgers.ts";

/** However busy the machine is. */
const POLL = { timeout: 30_000 };

const CALL = { timeoutMs: 10_000 };
const MINUTE = { leaseMs: 60_000, retentionMs: 60_000 };
const manual = new URL("../../../docs/postgres.md", import.meta.url);

describePostgres("a role with what docs/postgres.md lists", () => {
  const { url, pool } = useDatabase();
  const role = `evenkeel_app_${randomUUID().slice(0, 8)}`;
  let app: pg.Pool;
  let grants: string[];
  let functions: string[];

  beforeAll(async () => {
    const admin = await pool();
    const text = await readFile(manual, "utf8");
    const granting = text.split("```sql\n").find((block) => block.startsWith("GRANT")) ?? "";
    grants = granting.slice(0, granting.indexOf("```")).split(";\n").filter(Boolean);
    grants = grants.map((grant) => grant.replace(/\bapp$/, role));
    functions = text.split("\n").flatMap((line) => {
      const listed = /^\| (?:executions|leases|resources|all) \| (`.*`) \|$/.exec(line)?.[1] ?? "";
      return [...listed.matchAll(/`(\w+)`/g)].map(([, name]) => `evenkeel_${name}`);
    });
    const owner = postgresStore(admin);
    await owner.migrate();
    await owner.close();
    await admin.query(`CREATE ROLE ${role} LOGIN PASSWORD 'app'`);
    // What everybody has by default, so that only what is listed is left.
    await admin.query("REVOKE ALL ON SCHEMA public FROM PUBLIC");
    await admin.query("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC");
    for (const grant of grants) await admin.query(grant);
    for (const name of functions) await admin.query(`GRANT EXECUTE ON FUNCTION ${name} TO ${role}`);
    const address = new URL(await url());
    address.username = role;
    address.password = "app";
    app = new pg.Pool({ connectionString: address.href, max: 2 });
  });
  afterAll(async () => {
    await app?.end();
    await (await pool()).query(`DROP OWNED BY ${role}`);
    await (await pool()).query(`DROP ROLE ${role}`);
  });

  it("can do all that the store does", async () => {
    const store = postgresStore(app, { listen: true });
    const end = store.executions.watch?.("k", () => {});
    await executions(store);
    await inTransaction(store, app);
    await leases(store);
    await resources(store);
    end?.();
    await store.close();
  });

  it("has no table, sequence or function of the ledger that is not listed", async () => {
    const { rows: made } = await (await pool()).query("SELECT proname FROM pg_proc WHERE proname LIKE 'evenkeel\\_%'");
    expect(functions.toSorted()).toEqual(made.map(({ proname }) => proname).sort());
    const { rows: relations } = await (await pool()).query(
      "SELECT relname FROM pg_class WHERE relkind IN ('r', 'S') AND relname LIKE 'evenkeel\\_%'",
    );
    const listed = new Set(grants.flatMap((grant) => grant.split(" TO ")[0]?.match(/evenkeel_\w+/g) ?? []));
    expect([...listed].sort()).toEqual(relations.map(({ relname }) => relname).sort());
  });

  it("can't do without any of it: each is missed as STORE_MISCONFIGURED, and nothing is written", async () => {
    const admin = await pool();
    for (const grant of grants) {
      const revoke = grant.replace(/^GRANT/, "REVOKE").replace(/ TO (\w+)$/, " FROM $1");
      await admin.query(revoke);
      const store = postgresStore(app);
      const call = withIdempotency(() => "ran", { store, operation: "refused" });
      await expect(call("i", { key: "k" })).rejects.toMatchObject({ code: "STORE_MISCONFIGURED" });
      await store.close();
      await admin.query(grant);
    }
    const { rows } = await admin.query("SELECT FROM evenkeel_executions WHERE operation = 'refused'");
    expect(rows).toEqual([]);
  });

  it("can't make tables", async () => {
    const store = postgresStore(app, { tablePrefix: "other_" });
    await expect(store.migrate()).rejects.toMatchObject({ code: "STORE_MISCONFIGURED", message: /privilege/ });
    await store.close();
  });
});

describePostgres("a ledger whose schema is renamed", () => {
  const { url, pool } = useDatabase();

  it("is STORE_UNAVAILABLE under its new name, and as before under the old one", async () => {
    const admin = await pool();
    await admin.query("CREATE SCHEMA ledger");
    const options = "-c search_path=ledger,renamed";
    const users = new pg.Pool({ connectionString: await url(), options, max: 2 });
    const store = postgresStore(users, { migrate: false });
    await store.migrate();
    let runs = 0;
    const bounded = (storeTimeoutMs: number) =>
      withIdempotency(() => ++runs, { store, operation: "o", storeTimeoutMs });
    const [call, callInVain] = [bounded(20_000), bounded(500)];
    expect(await call("i", { key: "k" })).toBe(1);
    await admin.query("ALTER SCHEMA ledger RENAME TO renamed");
    for (const key of ["k", "new"]) {
      await expect(callInVain("i", { key })).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    }
    await admin.query("ALTER SCHEMA renamed RENAME TO ledger");
    expect(await call("i", { key: "k" })).toBe(1);
    expect(runs).toBe(1);
    await store.close();
    await users.end();
  });
});

async function executions({ executions }: PostgresStore): Promise<void> {
  const nonce = "nonce";
  const claim = async (id: string): Promise<{ id: string; token: number; nonce: string }> => {
    const identity = { id, operation: "o", scope: "", onAbandoned: "takeover" } as const;
    const claimed = await executions.claim({ ...identity, nonce, ...MINUTE }, CALL);
    if (claimed.status !== "acquired") throw new Error(claimed.status);
    return { id, token: claimed.token, nonce };
  };
  const outcome = { kind: "value", bytes: Buffer.from("1") } as const;
  const kept = await claim("kept");
  expect(await executions.renew({ ...kept, ...MINUTE }, CALL)).toMatchObject({ status: "renewed" });
  const step = { position: 0, name: "first", outcome };
  expect(await executions.recordStep({ ...kept, step }, CALL)).toEqual({ status: "recorded" });
  expect(await claim("kept")).toEqual(kept);
  expect(await executions.complete({ ...kept, outcome, retentionMs: 60_000 }, CALL)).toMatchObject({
    status: "committed",
  });
  const retried = await claim("retried");
  const as = { mode: "retry", attempt: 1, retentionMs: 60_000 } as const;
  expect(await executions.release({ ...retried, as }, CALL)).toEqual({ status: "released" });
  const { id: taken, token } = await claim("retried");
  expect(token).toBeGreaterThan(retried.token);
  const seizure = { id: taken, token, nonce: "operator", ...MINUTE };
  expect(await executions.seize(seizure, CALL)).toMatchObject({ status: "seized", attempt: 2 });
  const forgotten = await claim("forgotten");
  expect(await executions.release({ ...forgotten, as: { mode: "forget" } }, CALL)).toEqual({ status: "released" });
  const expiring = await claim("expiring");
  await executions.complete({ ...expiring, outcome, retentionMs: 1 }, CALL);
  await expect.poll(() => executions.get("expiring", CALL), POLL).toBe(undefined);
  expect((await claim("expiring")).token).toBeGreaterThan(expiring.token);
  const { id } = await claim("purged");
  await executions.complete({ ...(await claim(id)), outcome, retentionMs: 1 }, CALL);
  await expect.poll(() => executions.purge({ limit: 10 }, CALL), POLL).toEqual({ purged: 1 });
  expect(await executions.countExpired(CALL)).toEqual({ count: 0 });
  expect(await executions.list({ operation: "o", limit: 10 }, CALL)).toHaveLength(3);
  expect(await executions.recent({ operation: "o", limit: 10 }, CALL)).toHaveLength(3);
}

async function inTransaction(store: PostgresStore, pool: pg.Pool): Promise<void> {
  const call = withIdempotency(
    async (_: string, ctx) => {
      const client = await pool.connect();
      await client.query("BEGIN");
      await ctx.complete("paid", client);
      await client.query("COMMIT");
      client.release();
      return "paid";
    },
    { store, operation: "pay" },
  );
  expect(await call("i", { key: "k" })).toBe("paid");
  expect(await call.run("i", { key: "k" })).toMatchObject({ replayed: true });
}

async function leases({ leases }: PostgresStore): Promise<void> {
  const holder = { name: "leader", holder: "one" };
  const acquired = await leases.acquire({ ...holder, nonce: "n", durationMs: 60_000 }, CALL);
  if (acquired.status !== "acquired") throw new Error(acquired.status);
  const { epoch } = acquired;
  expect(await leases.renew({ ...holder, epoch, durationMs: 60_000 }, CALL)).toMatchObject({ status: "renewed" });
  expect(await leases.get("leader", CALL)).toMatchObject({ holder: "one" });
  expect(await leases.list("lead", CALL)).toHaveLength(1);
  expect(await leases.release({ ...holder, epoch }, CALL)).toEqual({ status: "released" });
}

async function resources({ resources }: PostgresStore): Promise<void> {
  const group = "workers";
  await resources.setDesired({ group, epoch: 1, nonce: "n", desired: "2" }, CALL);
  expect(await resources.getDesired(group, CALL)).toMatchObject({ generation: 1, desired: "2" });
  const fences = [{ name: "shard", epoch: 1 }];
  const fields = { id: "web-1", nonce: "n", fence: "shard", generation: 1, attempt: 1, externalId: "x" };
  const create: ResourceWrite = { ...fields, kind: "create", state: "PROVISIONED", after: 0 };
  const apply = (write: ResourceWrite) =>
    resources.apply({ group, epoch: 1, writes: [write], fences, status: "s" }, CALL);
  expect(await apply(create)).toMatchObject({ results: [{ status: "applied" }] });
  expect(await resources.heartbeat({ group, beats: [{ id: "web-1" }] }, CALL)).toEqual([{ status: "accepted" }]);
  const row = await resources.get(group, "web-1", CALL);
  expect(row).toMatchObject({ state: "PROVISIONED" });
  await expect
    .poll(async () => (await resources.staleBefore({ group, ageMs: 1, limit: 9 }, CALL)).rows)
    .toHaveLength(1);
  const { incarnation = 0, version = 0 } = row ?? {};
  const ending = { ...fields, nonce: "m", kind: "update", state: "TERMINATED", incarnation } as const;
  expect(await apply({ ...ending, expectedVersion: version })).toMatchObject({ results: [{ status: "applied" }] });
  expect(await resources.list({ group, limit: 9 }, CALL)).toHaveLength(1);
  expect((await resources.changedSince({ group, limit: 9 }, CALL)).rows).toHaveLength(1);
  expect(await resources.listGroups({ limit: 9 }, CALL)).toEqual([group]);
  await expect.poll(() => resources.purge({ group, ageMs: 1, limit: 9 }, CALL), POLL).toEqual({ purged: 1 });
}
