import { randomUUID } from "node:crypto";
import pg from "pg";
import { expect, it } from "vitest";
import { postgresStore } from "../../../adapters/stores/postgres.ts";
import type { ClaimRequest, LedgerStore } from "../../../src/store.ts";
import { describePostgres } from "../../support/engines.ts";
import { newPrefix, useDatabase } from "../../support/postgres-ledgers.ts";
import { startTcpProxy } from "../../support/tcp-proxy.ts";

/** However busy the machine is. */
const POLL = { timeout: 30_000 };

const claim = (store: LedgerStore, id: number, timeoutMs: number) => store.executions.claim(claimOf(id), { timeoutMs });

function claimOf(id: number): ClaimRequest {
  return {
    id: id.toString(16).padStart(64, "0"),
    operation: "o",
    scope: "",
    key: `k${id}`,
    nonce: randomUUID(),
    leaseMs: 60_000,
    retentionMs: 60_000,
    onAbandoned: "takeover",
  };
}

describePostgres("connection attempts that meet silence", () => {
  const { url } = useDatabase();

  /** A pool whose way to the server goes over a proxy, until it is told to go there straight. */
  async function poolOverProxy(options: pg.PoolConfig = {}) {
    const direct = await url();
    const proxy = await startTcpProxy({ port: Number(new URL(direct).port) });
    const pool = new pg.Pool({ connectionString: proxy.url(direct), ...options });
    pool.on("error", () => {});
    const goStraight = (): void => void Object.assign(pool.options, { connectionString: direct });
    return { pool, proxy, goStraight, direct };
  }

  it("on first use keep the store from nothing once the network is back", async () => {
    const { pool, proxy, goStraight } = await poolOverProxy();
    const store = postgresStore(pool, { tablePrefix: newPrefix() });
    proxy.blackHole("toClient");
    await expect(claim(store, 1, 500)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    goStraight();
    expect(await claim(store, 1, 10_000)).toMatchObject({ status: "acquired" });
    await store.close();
    await proxy.stop();
    await pool.end();
  });

  it("later on, as many as there may be statements, keep it from nothing either", async () => {
    const { pool, proxy, goStraight, direct } = await poolOverProxy({ max: 20 });
    const tablePrefix = newPrefix();
    const store = postgresStore(pool, { tablePrefix });
    await claim(store, 0, 20_000);
    proxy.resetConnections();
    await expect.poll(() => pool.totalCount, POLL).toBe(0);
    proxy.blackHole("toClient");
    for (let n = 0; n < 9; n += 1) {
      await expect(claim(store, n, 270)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    }
    goStraight();
    expect(await claim(store, 20, 10_000)).toMatchObject({ status: "acquired" });
    await store.close();
    await proxy.stop();
    await pool.end();
    expect(direct).not.toBe("");
  });
});

describePostgres("a pool that is busy", () => {
  const { url } = useDatabase();

  it("has no more than a few of the store's requests left over from calls that gave up", async () => {
    const pool = new pg.Pool({ connectionString: await url(), max: 1 });
    const store = postgresStore(pool, { tablePrefix: newPrefix() });
    await store.resources.getDesired("g", { timeoutMs: 20_000 });
    const held = await pool.connect();
    const calls = Array.from({ length: 200 }, () => store.resources.getDesired("g", { timeoutMs: 10 }));
    const settled = await Promise.allSettled(calls);
    expect(settled.every(({ status }) => status === "rejected")).toBe(true);
    expect(pool.waitingCount).toBeLessThan(12);
    const waits = store.resources.getDesired("g", { timeoutMs: 20_000 });
    held.release();
    expect(await waits).toMatchObject({ generation: 0 });
    await expect.poll(() => [pool.waitingCount, pool.idleCount], POLL).toEqual([0, 1]);
    await store.close();
    await pool.end();
  });
});

describePostgres("outcomes that are large together", () => {
  const { url } = useDatabase();

  it("come in statements that carry little more than a megabyte each, beside small ones", async () => {
    const pool = new pg.Pool({ connectionString: await url(), max: 4 });
    const store = postgresStore(pool, { tablePrefix: newPrefix() });
    const call = { timeoutMs: 40_000 };
    const sizes = Array.from({ length: 60 }, (_, n) => (n % 3 === 0 ? 10 : n % 3 === 1 ? 300_000 : 1_500_000));
    for (const [n, size] of sizes.entries()) {
      const { id, nonce } = claimOf(n);
      const granted = await store.executions.claim({ ...claimOf(n), nonce }, call);
      if (granted.status !== "acquired") throw new Error(granted.status);
      const outcome = { kind: "value", bytes: new Uint8Array(size).fill(n) } as const;
      await store.executions.complete({ id, token: granted.token, nonce, outcome, retentionMs: 60_000 }, call);
    }
    await expect.poll(() => pool.idleCount, POLL).toBe(pool.totalCount);
    const answers: { rows: number; bytes: number }[] = [];
    const connections = await Promise.all(Array.from({ length: 4 }, () => pool.connect()));
    for (const client of connections) {
      const query = client.query.bind(client) as (...args: unknown[]) => Promise<{ rows: { answer: string }[] }>;
      client.query = (async (...args: unknown[]) => {
        const result = await query(...args);
        const bytes = result.rows.reduce((sum, { answer }) => sum + answer.length / 2, 0);
        answers.push({ rows: result.rows.length, bytes });
        return result;
      }) as typeof client.query;
      client.release();
    }
    const replays = await Promise.all(sizes.map((_, n) => claim(store, n, 40_000)));
    const views = await Promise.all(sizes.map((_, n) => store.executions.get(claimOf(n).id, call)));
    for (const [n, size] of sizes.entries()) {
      const bytes = new Uint8Array(size).fill(n);
      expect(replays[n]).toMatchObject({ status: "completed" });
      const { outcome } = replays[n] as unknown as { outcome: { bytes: Uint8Array } };
      expect(Buffer.compare(outcome.bytes, bytes)).toBe(0);
      const view = views[n] as unknown as { outcome: { bytes: Uint8Array } };
      expect(Buffer.compare(view.outcome.bytes, bytes)).toBe(0);
    }
    for (const { rows, bytes } of answers) expect(bytes).toBeLessThan(rows === 1 ? 1_600_000 : 1_150_000);
    // Those that fit go together.
    expect(answers.length).toBeLessThan(80);
    await store.close();
    await pool.end();
  });
});
