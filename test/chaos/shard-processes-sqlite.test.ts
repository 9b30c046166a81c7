import { randomUUID } from "node:crypto";
import { afterAll, describe } from "vitest";
import { openDatabase, temporaryFolder } from "../support/sqlite-files.ts";
import type { Outage } from "./election-processes.ts";
import { describeShardProcesses } from "./shard-processes.ts";

/** Another process that keeps the file locked for as long as it likes. */
async function lockedOutage(url: string): Promise<Outage> {
  const handle = openDatabase(url.slice("sqlite:".length));
  handle.exec("PRAGMA busy_timeout = 5000");
  return {
    of: "everybody",
    url,
    begin: () => handle.exec("BEGIN IMMEDIATE"),
    end: async () => handle.exec("COMMIT"),
    dispose: async () => void handle.close(),
  };
}

describe("a member of a division on one SQLite file", () => {
  const folder = temporaryFolder();
  afterAll(() => folder.remove());
  describeShardProcesses(async () => `sqlite:${folder.file(`${randomUUID()}.db`)}`, lockedOutage);
});
