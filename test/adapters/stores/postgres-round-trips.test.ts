import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { postgresStore } from "../../../adapters/stores/postgres.ts";
import { withIdempotency } from "../../../src/index.ts";
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
  return /_(claim|complete|release)"\(/.exec(query)?.[1] ?? query;
}
