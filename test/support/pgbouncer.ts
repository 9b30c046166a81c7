import { chown, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { findProgram } from "./find-program.ts";
import { postgresBinaries } from "./postgres-binaries.ts";
import type { PostgresServer } from "./postgres-server.ts";
import { newFolder } from "./run-folder.ts";
import { ended, endLater, onFreePort, startServerProcess } from "./server-process.ts";

/** A pgbouncer before a PostgreSQL: each transaction of a client may run on another connection of the server. */
export interface Pgbouncer {
  readonly port: number;
  /** The same database through the pgbouncer. */
  url(databaseUrl: string): string;
  stop(): Promise<void>;
}

/**
 * Starts a pgbouncer of the PATH in transaction mode. It has a few connections to each database, and hands them out in turn,
 * so that state kept in a session is soon missed.
 * Within `describePgbouncer`, which leaves the tests out and says so where none is installed.
 */
export async function startPgbouncer(
  target: Pick<PostgresServer, "url">,
  options: { readonly settings?: Readonly<Record<string, string>> } = {},
): Promise<Pgbouncer> {
  // It refuses to run as root as well.
  const { owner } = await postgresBinaries();
  const { hostname, port: targetPort, username, password } = new URL(target.url);
  const folder = await newFolder("pgbouncer");
  const users = join(folder, "users");
  await writeFile(users, `"${username}" "${password}"\n`, { mode: 0o600 });
  const urlOf = (databaseUrl: string, port: number): string => {
    const url = new URL(databaseUrl);
    url.hostname = "127.0.0.1";
    url.port = String(port);
    return url.href;
  };
  const { port, process } = await onFreePort(async (port) => {
    const settings = {
      listen_addr: "127.0.0.1",
      listen_port: String(port),
      unix_socket_dir: "",
      auth_type: "plain",
      auth_file: users,
      pool_mode: "transaction",
      default_pool_size: "4",
      server_round_robin: "1",
      max_client_conn: "1000",
      ...options.settings,
    };
    const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
    const file = join(folder, "pgbouncer.ini");
    const databases = `[databases]\n* = host=${hostname} port=${targetPort}\n[pgbouncer]\n`;
    await writeFile(file, `${databases}${lines.join("\n")}\n`, { mode: 0o600 });
    if (owner !== undefined) for (const path of [folder, users, file]) await chown(path, owner.uid, owner.gid);
    const process = await startServerProcess({
      command: findProgram("pgbouncer") ?? "pgbouncer",
      args: [file],
      folder,
      owner,
      ready: () => answers(urlOf(target.url, port)),
    });
    return { port, process };
  });
  const pgbouncer: Pgbouncer = {
    port,
    url: (databaseUrl) => urlOf(databaseUrl, port),
    async stop() {
      process.signal("SIGKILL");
      await process.ended;
      await rm(folder, { recursive: true, force: true });
      ended(pgbouncer);
    },
  };
  endLater(pgbouncer);
  return pgbouncer;
}

async function answers(connectionString: string): Promise<boolean> {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 5_000 });
  client.on("error", () => {});
  try {
    await client.connect();
    await client.query("SELECT 1");
    return true;
  } finally {
    await client.end().catch(() => {});
  }
}
