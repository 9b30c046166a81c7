import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestProject } from "vitest/node";
import { buildOnce } from "./build-once.ts";
import { findMissingEngines, type MissingEngines, noticeOfNotRun } from "./missing-engines.ts";
import { startRedis } from "./redis-server.ts";
import { openRunFolder } from "./run-folder.ts";
import { existingPostgres, ownPostgres, type SharedPostgres } from "./shared-postgres.ts";

declare module "vitest" {
  interface ProvidedContext {
    engines: SharedEngines;
  }
}

/** What the test files learn of the engines that they share. */
export interface SharedEngines {
  readonly missing: MissingEngines;
  /** Where it isn't missing. */
  readonly redisUrl: string | undefined;
  /** A request to it is answered with the URL of a new database, so that no PostgreSQL starts for a run that needs none. */
  readonly databasesUrl: string;
}

/**
 * Builds what tests run in processes of their own, and starts what all test files share. After the last test it ends every
 * server that is left, and says which tests had no engine to run on; where `CI` is set, that is a failure.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const run = openRunFolder();
  const postgres = process.env["DATABASE_URL"] ? existingPostgres(process.env["DATABASE_URL"]) : ownPostgres();
  const [missing, databases] = await Promise.all([findMissingEngines(), serveDatabases(postgres), buildOnce()]);
  project.provide("engines", {
    missing,
    redisUrl: process.env["REDIS_URL"] || (missing.Redis ? undefined : (await startRedis()).url),
    databasesUrl: databases.url,
  });
  return async () => {
    databases.close();
    await postgres.dispose();
    const notice = noticeOfNotRun(missing);
    await run.close();
    if (notice === undefined) return;
    console.error(`\n${notice}\n`);
    if (process.env["CI"]) process.exitCode = 1;
  };
}

async function serveDatabases(postgres: SharedPostgres): Promise<{ readonly url: string; close(): void }> {
  const server = createServer((_, response) => {
    postgres.createDatabase().then(
      (url) => response.end(url),
      (error: Error) => response.writeHead(500).end(error.message),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
