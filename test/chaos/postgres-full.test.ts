import { execFile } from "node:child_process";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { postgresStore } from "../../adapters/stores/postgres.ts";
import { childrenOf } from "../support/child-processes.ts";
import { describePostgresServers } from "../support/engines.ts";
import { startPostgres } from "../support/postgres-server.ts";
import { describeFullEngine } from "./full-engine.ts";

const run = promisify(execFile);

/** No smaller than a segment of the log, which is written whole. */
const LARGEST_FILE_BYTES = 17 * 1_048_576;

/**
 * Bounds the files of a server, which to it is a disk without room: it can't extend its tables. Only the soft limit, which
 * the server's own user may raise again.
 */
async function boundFiles(pool: pg.Pool, bytes: number | "unlimited"): Promise<void> {
  const { rows } = await pool.query("SHOW data_directory");
  const [pid = ""] = (await readFile(join(rows[0].data_directory, "postmaster.pid"), "utf8")).split("\n");
  const { uid, gid } = await stat(join(rows[0].data_directory, "postmaster.pid"));
  // Connections that are open, and by inheritance those that will be.
  for (const each of [...childrenOf(Number(pid)), Number(pid)]) {
    await run("prlimit", ["--pid", `${each}`, `--fsize=${bytes}:`], { uid, gid });
  }
}

describePostgresServers("a PostgreSQL that can't extend its files", () => {
  describeFullEngine(
    async () => {
      const server = await startPostgres();
      const pool = new pg.Pool({ connectionString: server.url });
      pool.on("error", () => {});
      const store = postgresStore(pool);
      return {
        store,
        fill: () => boundFiles(pool, LARGEST_FILE_BYTES),
        makeRoom: () => boundFiles(pool, "unlimited"),
        close: async () => {
          await store.close();
          await pool.end();
          await server.stop();
        },
      };
    },
    { outcomes: "refused" },
  );
});
