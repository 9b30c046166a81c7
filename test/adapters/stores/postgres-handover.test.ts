import { connect, createServer, type Server } from "node:net";
import pg from "pg";
import { afterEach, describe, expect, it } from "vitest";
import { postgresStore } from "../../../adapters/stores/postgres.ts";
import { withIdempotency } from "../../../src/index.ts";
import { databaseUrl, describePostgres } from "../../support/engines.ts";
import { listen } from "../http/suite/servers.ts";

/** `ReadyForQuery`, idle (PostgreSQL, "Message Formats"). */
const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);

/** What a server says to a connection that an administrator ends. */
const TERMINATED = errorResponse("SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0");

function errorResponse(fields: string): Buffer {
  const body = Buffer.from(fields);
  const head = Buffer.alloc(5, "E");
  head.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

/** A way to a server on which the first `broken` connections end with the very bytes that make them ready. */
async function endingAtOnce(address: URL, broken: number): Promise<{ url: string; server: Server; left(): number }> {
  let left = broken;
  const server = createServer((client) => {
    const upstream = connect(Number(address.port), address.hostname);
    upstream.on("error", () => client.destroy());
    client.on("error", () => upstream.destroy()).on("close", () => upstream.destroy());
    client.pipe(upstream);
    upstream.on("data", (chunk: Buffer) => {
      if (left === 0 || !chunk.subarray(-READY.length).equals(READY)) return void client.write(chunk);
      left -= 1;
      client.end(Buffer.concat([chunk, TERMINATED]));
    });
    upstream.on("close", () => client.end());
  });
  const { port } = await listen(server);
  const url = new URL(address);
  url.port = String(port);
  return { url: url.href, server, left: () => left };
}

describePostgres("a connection that ends as it is handed over", () => {
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  describe.each(["a pool", "a URL"])("of %s", (source) => {
    it("neither ends the process nor loses the call", async () => {
      const way = await endingAtOnce(new URL(await databaseUrl()), 3);
      closing.push(() => way.server.close());
      const pool = new pg.Pool({ connectionString: way.url, max: 2 });
      closing.push(() => pool.end());
      const store = postgresStore(source === "a pool" ? pool : way.url);
      let runs = 0;
      const once = withIdempotency(async (_: object) => ++runs, { store, operation: "o" });
      // An error event without a listener is an uncaught exception, which fails the run.
      expect(await once({}, { key: "k" })).toBe(1);
      expect([await once({}, { key: "k" }), runs, way.left()]).toEqual([1, 1, 0]);
      await store.close();
      for (const event of ["error", "acquire", "release"]) expect(pool.listenerCount(event)).toBe(0);
    });
  });
});
