import { randomBytes } from "node:crypto";
import pg from "pg";
import { type PostgresServer, startPostgres } from "./postgres-server.ts";

/** The PostgreSQL that the test files of a run share. */
export interface SharedPostgres {
  /** Creates an empty database, on a server that the first call starts, and gives its URL. */
  createDatabase(): Promise<string>;
  /** Drops what it has created on a server that it didn't start. */
  dispose(): Promise<void>;
}

/** A server of the run's own. It does not survive a power loss, which makes it faster, and lives as long as the run. */
export function ownPostgres(): SharedPostgres {
  let server: Promise<PostgresServer> | undefined;
  return {
    async createDatabase() {
      server ??= startPostgres({ settings: { fsync: "off", full_page_writes: "off", max_connections: "400" } });
      return (await server).createDatabase();
    },
    dispose: async () => {},
  };
}

/** The server at `DATABASE_URL`, whose user has to be allowed to create databases. */
export function existingPostgres(url: string): SharedPostgres {
  const created: string[] = [];
  return {
    async createDatabase() {
      const name = `evenkeel_test_${randomBytes(6).toString("hex")}`;
      await run(url, [`CREATE DATABASE ${name}`]);
      created.push(name);
      const database = new URL(url);
      database.pathname = `/${name}`;
      return database.href;
    },
    dispose: () =>
      run(
        url,
        created.splice(0).map((name) => `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
      ),
  };
}

async function run(url: string, statements: readonly string[]): Promise<void> {
  if (statements.length === 0) return;
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}
