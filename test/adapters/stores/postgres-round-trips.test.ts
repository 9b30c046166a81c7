import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { postgresStore } from "../../../adapters/stores/postgres.ts";
import { withIdempotency } from "../../../src/index.ts";
import type { Fence } from "../../../src/store.ts";
import { describePostgresServers } from "../../support/engines.ts";
import { type PostgresServer, startPostgres } from "../../support/postgres-server.ts";
import { startTcpProxy, type TcpProxy } from "../../support/tcp-proxy.ts";

/** What nobody can miscount: the server's own statistics of statements, and the bytes on the wire (rule 30). */
describePostgresServers("the round trips of postgresStore, one call at a time", () => {
  let server: PostgresServer;
  let proxy: TcpProxy;
  let admin: pg.Pool;

  beforeAll(async () => {
    server = await startPostgres();
    proxy = await startTcpProxy(server);
    admin = new pg.Pool({ connectionString: server.url, max: 1 });
    await admin.query("CREATE EXTENSION pg_stat_statements");
  });
  afterAll(async () => {
    await admin.end();
    await proxy.stop();
    await server.stop();
  });

  /** What the server was asked, and how often something went to and fro, while `work` was done. */
  async function counted(work: () => Promise<unknown>): Promise<{ statements: string[]; roundTrips: number }> {
    await admin.query("SELECT pg_stat_statements_reset()");
    proxy.resetCounts();
    await work();
    const { roundTrips } = proxy.counts;
    const { rows } = await admin.query(`SELECT query, calls::int FROM pg_stat_statements
      WHERE toplevel AND query NOT LIKE '%pg_stat_statements%'`);
    return { statements: rows.flatMap(({ query, calls }) => Array(calls).fill(nameOf(query))).sort(), roundTrips };
  }

  it.each(["a pool", "a URL that listens"])("are 2 for a first call and 1 for a replay, with %s", async (kind) => {
    const url = proxy.url(server.url);
    const pool = new pg.Pool({ connectionString: url, max: 2 });
    const store = postgresStore(kind === "a pool" ? pool : url, { tablePrefix: kind === "a pool" ? "pool_" : "url_" });
    const call = withIdempotency((n: number) => ({ n }), { store, operation: "o" });
    await call(0, { key: "set-up" });
    expect(await counted(() => call(1, { key: "a" }))).toEqual({ statements: ["claim", "complete"], roundTrips: 2 });
    expect(await counted(() => call(1, { key: "a" }))).toEqual({ statements: ["claim"], roundTrips: 1 });
    expect(await counted(() => call(2, { key: "b" }))).toEqual({ statements: ["claim", "complete"], roundTrips: 2 });
    const failing = withIdempotency(() => Promise.reject(new Error("no")), { store, operation: "fails" });
    const fails = () => expect(failing(3, { key: "c" })).rejects.toThrow("no");
    expect((await counted(fails)).roundTrips).toBe(2);
    await store.close();
    await pool.end();
  });

  it("are 1 for a batch of resources, however many fences it has", async () => {
    const pool = new pg.Pool({ connectionString: proxy.url(server.url), max: 1 });
    const { resources, close } = postgresStore(pool, { tablePrefix: "batch_" });
    const batch = (count: number, fences?: readonly Fence[]) => {
      const asked = { after: 0, nonce: "n", state: "PENDING", generation: 1, attempt: 1 } as const;
      const writes = Array.from(
        { length: count },
        (_, n) => ({ kind: "create", id: `${count}-${n}`, ...asked }) as const,
      );
      return resources.apply({ group: "g", epoch: 0, writes, ...(fences && { fences }) }, { timeoutMs: 30_000 });
    };
    await batch(1);
    const ofEpoch = (epoch: number) => Array.from({ length: 100 }, (_, n) => ({ name: `shard ${n}`, epoch }));
    for (const [count, fences] of [
      [2],
      [20, ofEpoch(2)],
      [20, ofEpoch(2)],
      [21, ofEpoch(3)],
      [22, ofEpoch(1)],
    ] as const) {
      const cost = await counted(() => batch(count, fences));
      expect(cost).toEqual({ statements: ["apply_resources"], roundTrips: 1 });
    }
    await close();
    await pool.end();
  });

  it("are 1 more for a store that finds its ledger first", async () => {
    const pool = new pg.Pool({ connectionString: proxy.url(server.url), max: 1 });
    const first = postgresStore(pool, { tablePrefix: "found_" });
    await first.migrate();
    const store = postgresStore(pool, { tablePrefix: "found_" });
    const call = withIdempotency(() => "done", { store, operation: "o" });
    expect((await counted(() => call("i", { key: "k" }))).roundTrips).toBe(3);
    await first.close();
    await store.close();
    await pool.end();
  });
});

/** The function of the ledger that a statement calls, or else the statement. */
function nameOf(query: string): string {
  return /_(claim|complete|release|apply_resources)"\(/.exec(query)?.[1] ?? query;
}
