import pg from "pg";
import { afterAll, afterEach, expect, it } from "vitest";
import { describePgbouncer, describePostgresServers } from "../support/engines.ts";
import { startPgbouncer } from "../support/pgbouncer.ts";
import { type PostgresServer, startPostgres } from "../support/postgres-server.ts";
import { endServers } from "../support/server-process.ts";

const clients: pg.Client[] = [];
let starting: Promise<PostgresServer> | undefined;
const started = (): Promise<PostgresServer> => {
  starting ??= startPostgres();
  return starting;
};
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.end()));
});
afterAll(endServers);

async function connected(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString });
  client.on("error", () => {});
  clients.push(client);
  await client.connect();
  return client;
}

describePostgresServers("a PostgreSQL of a test's own", () => {
  it("keeps what it committed through a kill of all its processes and a restart", async () => {
    const server = await started();
    const url = await server.createDatabase();
    const before = await connected(url);
    await before.query("CREATE TABLE kept (value int)");
    await before.query("INSERT INTO kept VALUES (1)");
    const lost = new Promise((resolve) => before.once("end", resolve));
    await server.kill();
    await lost;
    await expect(connected(url)).rejects.toThrow("ECONNREFUSED");
    await server.restart();
    const { rows } = await (await connected(url)).query("SELECT value FROM kept");
    expect(rows).toEqual([{ value: 1 }]);
  });

  it("answers nothing while it is paused, on old and on new connections, and everything after that", async () => {
    const server = await started();
    const client = await connected(server.url);
    const order: string[] = [];
    server.pause();
    const answered = client.query("SELECT 1").then(() => order.push("old"));
    const late = new pg.Client({ connectionString: server.url, connectionTimeoutMillis: 200 });
    await expect(late.connect()).rejects.toThrow("timeout");
    order.push("resumed");
    server.resume();
    await answered;
    expect(order).toEqual(["resumed", "old"]);
  });

  it("counts statements where a database asks for it", async () => {
    const client = await connected(await (await started()).createDatabase());
    await client.query("CREATE EXTENSION pg_stat_statements");
    await client.query("SELECT pg_stat_statements_reset()");
    for (const value of [1, 2, 3]) await client.query("SELECT $1::int AS counted", [value]);
    const { rows } = await client.query(
      "SELECT calls FROM pg_stat_statements WHERE query LIKE '%counted%' AND calls > 1",
    );
    expect(rows).toEqual([{ calls: "3" }]);
  });
});

describePgbouncer("pgbouncer before it", () => {
  it("runs the transactions of one client on several connections", async () => {
    const server = await started();
    const bouncer = await startPgbouncer(server);
    const url = bouncer.url(await server.createDatabase());
    const [first, second] = await Promise.all([connected(url), connected(url)]);
    const pids = new Set<number>();
    for (let i = 0; i < 10; i += 1) {
      const asked = [first, second].map((client) => client.query("SELECT pg_backend_pid() AS pid, pg_sleep(0.01)"));
      pids.add((await asked[0])?.rows[0].pid);
      await asked[1];
    }
    expect(pids.size).toBeGreaterThan(1);
  });
});
