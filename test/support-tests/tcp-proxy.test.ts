import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { Redis } from "ioredis";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { askRedis } from "../support/ask-redis.ts";
import { databaseUrl, describePostgres, describeRedisServers } from "../support/engines.ts";
import { startRedis } from "../support/redis-server.ts";
import { endServers } from "../support/server-process.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";

afterEach(endServers);

describe("a proxy before a server that answers everything", () => {
  const received: string[] = [];
  const sockets = new Set<Socket>();
  let echo: Server;
  let proxy: TcpProxy;

  beforeEach(async () => {
    received.length = 0;
    echo = createServer((socket) => {
      sockets.add(socket.setEncoding("utf8"));
      socket.on("error", () => {});
      socket.on("close", () => sockets.delete(socket));
      socket.on("data", (text: string) => {
        received.push(text);
        socket.write(text);
      });
    }).listen(0, "127.0.0.1");
    await once(echo, "listening");
    proxy = await startTcpProxy(echo.address() as { port: number });
  });
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => echo.close(resolve));
  });

  const open = async () => {
    const socket = connect({ port: proxy.port, host: "127.0.0.1" }).setEncoding("utf8");
    const replies: string[] = [];
    socket.on("data", (text: string) => replies.push(text));
    const closed = new Promise<string>((resolve) => {
      socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
      socket.once("close", () => resolve("closed"));
    });
    await once(socket, "connect");
    return {
      replies,
      closed,
      socket,
      async ask(text: string): Promise<string> {
        const count = replies.length;
        socket.write(text);
        await Promise.race([until("a reply", () => replies.length > count), closed]);
        return replies.slice(count).join("") || closed;
      },
    };
  };

  it("passes bytes on and counts them", async () => {
    const client = await open();
    expect([await client.ask("one"), await client.ask("three")]).toEqual(["one", "three"]);
    expect(proxy.counts).toMatchObject({ connections: 1, roundTrips: 2, cuts: 0, bytes: { toServer: 8, toClient: 8 } });
    proxy.resetCounts();
    expect(proxy.counts).toMatchObject({ connections: 0, roundTrips: 0, bytes: { toServer: 0, toClient: 0 } });
    const large = "x".repeat(5_000_000);
    client.socket.write(large);
    await until("all of it came back", () => client.replies.join("").length === large.length + 8);
    client.socket.end();
    expect(await client.closed).toBe("closed");
  });

  it("cuts the reply to the n-th request, which has reached the server", async () => {
    const [client, other] = [await open(), await open()];
    await client.ask("before");
    const cut = proxy.cutReply({ request: 2 });
    expect(await client.ask("first")).toBe("first");
    expect(await client.ask("second")).toBe("ECONNRESET");
    await cut;
    expect(received).toEqual(["before", "first", "second"]);
    expect(await other.ask("third")).toBe("third");
    expect(proxy.counts.cuts).toBe(1);
  });

  it("cuts the reply to the request that matches", async () => {
    const client = await open();
    const cut = proxy.cutReply({ matching: (request) => request.includes("COMMIT") });
    expect(await client.ask("BEGIN")).toBe("BEGIN");
    expect(await client.ask("COMMIT")).toBe("ECONNRESET");
    await cut;
    expect(received).toEqual(["BEGIN", "COMMIT"]);
  });

  it("cuts a share of the replies, as drawn", async () => {
    const draws = [0.5, 0.01, 0.3];
    proxy.cutReplies({ share: 0.02, random: () => draws.shift() ?? 1 });
    const first = await open();
    expect([await first.ask("a"), await first.ask("b")]).toEqual(["a", "ECONNRESET"]);
    expect(await (await open()).ask("c")).toBe("c");
    expect(received).toEqual(["a", "b", "c"]);
    await proxy.heal();
    draws.push(0);
    expect(await (await open()).ask("d")).toBe("d");
  });

  it("delays each way by what it was told", async () => {
    const client = await open();
    proxy.delay({ toServer: 40, toClient: 60 });
    const before = performance.now();
    expect(await client.ask("late")).toBe("late");
    // Timers may be a millisecond early.
    expect(performance.now() - before).toBeGreaterThanOrEqual(98);
    client.socket.write("1");
    await until("the server has it", () => received.length === 2);
    client.socket.write("2");
    await until("both came back", () => client.replies.join("") === "late12");
  });

  it("swallows what is on its way to the server", async () => {
    const [lossy, idle] = [await open(), await open()];
    proxy.blackHole("toServer");
    lossy.socket.write("lost");
    await until("the proxy has it", () => proxy.counts.bytes.toServer === 4);
    await proxy.heal();
    expect(await lossy.closed).toBe("ECONNRESET");
    expect(await idle.ask("found")).toBe("found");
    expect(received).toEqual(["found"]);
  });

  it("swallows what is on its way to the client, which the server doesn't learn", async () => {
    const client = await open();
    proxy.blackHole("toClient");
    client.socket.write("done");
    await until("the server has answered", () => proxy.counts.bytes.toClient === 4);
    expect({ received, replies: client.replies, open: sockets.size }).toEqual({
      received: ["done"],
      replies: [],
      open: 1,
    });
    await proxy.heal();
    expect(await client.closed).toBe("ECONNRESET");
  });

  it("resets every connection, and makes new ones", async () => {
    const clients = await Promise.all([open(), open()]);
    await Promise.all(clients.map((client) => client.ask("hello")));
    proxy.resetConnections();
    expect(await Promise.all(clients.map(({ closed }) => closed))).toEqual(["ECONNRESET", "ECONNRESET"]);
    expect(await (await open()).ask("again")).toBe("again");
  });

  it("refuses new connections until it is healed, and keeps the old ones", async () => {
    const old = await open();
    await proxy.refuseConnections();
    await expect(open()).rejects.toThrow("ECONNREFUSED");
    expect(await old.ask("still")).toBe("still");
    await proxy.heal();
    expect(await (await open()).ask("again")).toBe("again");
    await proxy.stop();
    await proxy.stop();
    expect(await old.closed).toBe("ECONNRESET");
  });
});

describeRedisServers("a proxy before Redis", () => {
  it("cuts the reply of a command that was done, and lets the driver go on", async () => {
    const server = await startRedis();
    const proxy = await startTcpProxy(server);
    const client = new Redis(proxy.url(server.url), { maxRetriesPerRequest: 0, enableReadyCheck: false });
    client.on("error", () => {});
    await client.set("ready", "1");
    proxy.resetCounts();
    await client.get("ready");
    expect(proxy.counts).toMatchObject({ roundTrips: 1, connections: 0 });
    const cut = proxy.cutReply({ matching: (request) => request.includes("INCR") || request.includes("incr") });
    await expect(client.incr("count")).rejects.toThrow();
    await cut;
    expect(await askRedis(server.port, "GET count")).toContain("1");
    await until("the driver has a connection again", async () => (await client.get("count")) === "1");
    client.disconnect();
  });
});

describePostgres("a proxy before PostgreSQL", () => {
  it("cuts the reply of a COMMIT that was done", async () => {
    const url = await databaseUrl();
    const { hostname, port } = new URL(url);
    const proxy = await startTcpProxy({ host: hostname, port: Number(port) });
    const clientOf = async (connectionString: string) => {
      const client = new pg.Client({ connectionString });
      client.on("error", () => {});
      await client.connect();
      return client;
    };
    const client = await clientOf(proxy.url(url));
    proxy.resetCounts();
    await client.query("CREATE TABLE committed (value int)");
    expect(proxy.counts.roundTrips).toBe(1);
    const cut = proxy.cutReply({ matching: (request) => request.includes("COMMIT") });
    await client.query("BEGIN");
    await client.query("INSERT INTO committed VALUES (1)");
    await expect(client.query("COMMIT")).rejects.toThrow();
    await cut;
    const direct = await clientOf(url);
    expect((await direct.query("SELECT value FROM committed")).rows).toEqual([{ value: 1 }]);
    await direct.end();
  });
});
