import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, createConnection } from "node:net";
import { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { dashboard } from "../../../adapters/dashboard/dashboard.ts";
import { EventStream, eventText } from "../../../adapters/dashboard/event-stream.ts";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import { ResourceLedger } from "../../../src/index.ts";
import { CallLog, faultyStore, ManualClock } from "../../../src/testing/index.ts";
import { temporaryFolder } from "../../support/sqlite-files.ts";
import { endLater, servedBoard } from "./server-board.ts";

describe("a page that reads slowly", () => {
  it("gets the newest when it reads again, and nothing queues", async () => {
    const stream = new EventStream(new ManualClock(), eventText("hello", "{}"), () => {});
    for (let n = 0; n < 10_000; n += 1) stream.tell(eventText("update", `${n}`));
    const reader = stream.body.getReader();
    const decoder = new TextDecoder();
    const read = async () => decoder.decode((await reader.read()).value);
    expect(await read()).toBe("retry: 2000\n\nevent: hello\ndata: {}\n\nevent: update\ndata: 9999\n\n");
    const next = read();
    stream.tell(eventText("update", "10000"));
    stream.tell(eventText("update", "10001"));
    expect(await next).toBe("event: update\ndata: 10000\n\n");
    expect(await read()).toBe("event: update\ndata: 10001\n\n");
  });

  it("and never comes to it loses its place to others after a minute", async () => {
    const clock = new ManualClock();
    // More than a connection takes up by itself.
    const notes = [{ text: "x".repeat(16_000_000) }];
    const { server } = await servedBoard({
      store: memoryStore({ clock }),
      clock,
      notes,
      maxStreams: 1,
      intervalMs: 2_000,
    });
    const socket = createConnection({ host: "127.0.0.1", port: server.port });
    let isClosed = false;
    socket.on("error", () => {}).on("close", () => (isClosed = true));
    socket.write("GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    await once(socket, "data");
    socket.pause();
    endLater(() => socket.destroy());
    expect((await server.ask("/events")).status).toBe(503);
    await clock.advance(30_000);
    expect((await server.ask("/events")).status).toBe(503);
    await clock.advance(60_000);
    const other = server.watch();
    await expect.poll(() => other.status).toBe(200);
    socket.resume();
    await expect.poll(() => isClosed).toBe(true);
  });

  it("and never comes to it keeps no server from closing, once the dashboard is closed", async () => {
    // More than a connection takes up by itself.
    const board = dashboard({ store: memoryStore(), notes: [{ text: "x".repeat(16_000_000) }] });
    const server = createServer(board.node);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const socket = createConnection({ host: "127.0.0.1", port: (server.address() as AddressInfo).port });
    endLater(() => server.closeAllConnections());
    socket.on("error", () => {});
    socket.write("GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    await once(socket, "data");
    socket.pause();
    board.close();
    await new Promise((resolve) => server.close(resolve));
  });

  it("also of a little is not waited for", async () => {
    const board = dashboard({ store: memoryStore() });
    const stuck = new StuckResponse();
    board.node(
      Object.assign(Readable.from([]), { method: "GET", url: "/events", headers: {} }) as never,
      stuck as never,
    );
    await expect.poll(() => stuck.writableLength).toBeGreaterThan(0);
    expect(stuck.writableNeedDrain).toBe(false);
    board.close();
    await expect.poll(() => stuck.destroyed).toBe(true);
  });
});

/** A connection that takes up nothing. */
class StuckResponse extends Writable {
  setHeader(): void {}
  override _write(): void {}
}

describe("streams", () => {
  it("are at most so many, and one that is left makes room", async () => {
    const { server } = await servedBoard({ maxStreams: 2 });
    const [first, second] = [server.watch(), server.watch()];
    await expect.poll(() => [first.updates.length > 0, second.updates.length > 0]).toEqual([true, true]);
    const third = await server.ask("/events");
    expect(third.status).toBe(503);
    expect(third.headers["retry-after"]).toBe("5");
    expect(JSON.parse(third.text)).toMatchObject({ type: "urn:evenkeel:problem:too-many-streams" });
    first.leave();
    await expect
      .poll(async () => {
        const fourth = server.watch();
        await expect.poll(() => fourth.status).toBeDefined();
        return fourth.status;
      })
      .toBe(200);
    expect(second.isOver).toBe(false);
  });

  it("of other pages are refused", async () => {
    const { server } = await servedBoard();
    for (const site of ["cross-site", "same-site"]) {
      const { status } = await server.ask("/events", { headers: { "Sec-Fetch-Site": site } });
      expect(status).toBe(403);
    }
    const own = server.watch("/events", { "Sec-Fetch-Site": "same-origin" });
    await expect.poll(() => own.status).toBe(200);
  });

  it("say that they live while the ledger is silent", async () => {
    const clock = new ManualClock();
    const { server } = await servedBoard({ store: memoryStore({ clock }), clock, intervalMs: 600_000 });
    const watching = server.watch();
    await expect.poll(() => watching.updates.length).toBe(1);
    await clock.advance(5_000);
    await expect.poll(() => watching.beats).toBe(1);
    await clock.advance(30_000);
    await expect.poll(() => watching.beats).toBeGreaterThan(1);
    expect(watching.updates).toHaveLength(1);
  });

  it("that are left let the ledger alone after a while, and those that come begin again", async () => {
    const clock = new ManualClock();
    const log = new CallLog();
    const inner = memoryStore({ clock });
    await new ResourceLedger({ store: inner, group: "web", clock }).setDesired(1);
    const store = faultyStore(inner, { onCall: log.onCall });
    const { server } = await servedBoard({ store, clock, intervalMs: 2_000 });
    await clock.advance(10_000);
    expect(log.total).toBe(0);
    const watching = server.watch();
    await expect.poll(() => watching.updates.length).toBe(1);
    watching.leave();
    await expect
      .poll(async () => {
        // What is asked of executions is for those who watch.
        log.clear();
        await clock.advance(2_000);
        return [log.count("resources.listGroups"), log.count("executions.list")];
      })
      .toEqual([1, 0]);
    await clock.advance(310_000);
    log.clear();
    await clock.advance(60_000);
    expect(log.total).toBe(0);
    expect(clock.pendingTimers).toBe(0);
    const again = server.watch();
    await expect.poll(() => again.updates.length).toBe(1);
    const points = again.hello[0]?.history["web"] ?? [];
    expect(points[0]).toMatchObject({ desired: 1 });
    expect(points.at(-1)).toMatchObject({ desired: null, observed: null });
  });

  it("and looks end with the dashboard, and nothing is left", async () => {
    const clock = new ManualClock();
    const { server, board } = await servedBoard({ store: memoryStore({ clock }), clock });
    const watching = server.watch();
    await expect.poll(() => watching.updates.length).toBe(1);
    board.close();
    board.close();
    await expect.poll(() => watching.isOver).toBe(true);
    expect(clock.pendingTimers).toBe(0);
    const { status, text } = await server.ask("/events");
    expect(status).toBe(503);
    expect(JSON.parse(text)).toMatchObject({ type: "urn:evenkeel:problem:closed" });
  });

  it("end also where the runtime says by a signal that nobody reads any more", async () => {
    const store = memoryStore();
    const board = dashboard({ store, maxStreams: 1 });
    endLater(() => board.close());
    const gone = new AbortController();
    const first = await board.fetch(new Request("http://localhost/events", { signal: gone.signal }));
    expect(first.status).toBe(200);
    expect((await board.fetch(new Request("http://localhost/events"))).status).toBe(503);
    gone.abort();
    const second = await board.fetch(new Request("http://localhost/events"));
    expect(second.status).toBe(200);
    await second.body?.cancel();
    expect((await board.fetch(new Request("http://localhost/events"))).status).toBe(200);
  });
});

it("a process whose dashboard was watched and closed by nobody exits by itself", async () => {
  const folder = temporaryFolder();
  endLater(() => folder.remove());
  const script = fileURLToPath(new URL("./server-idle-process.mjs", import.meta.url));
  const child = spawn(process.execPath, ["--no-warnings", script, folder.file("ledger.db")]);
  endLater(() => child.kill("SIGKILL"));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  const [code, signal] = await once(child, "exit");
  expect({ code, signal, output }).toEqual({ code: 0, signal: null, output: "watched\n" });
});
