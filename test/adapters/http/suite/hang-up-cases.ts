import { connect } from "node:net";
import { expect, it } from "vitest";
import { systemClock } from "../../../../src/clock.ts";
import { seededRandom } from "../../../../src/testing/index.ts";
import { eventually } from "../eventually.ts";
import { problemCode } from "../http-client.ts";
import { expectProblem } from "./expect-problem.ts";
import { gate } from "./gate.ts";
import type { Suite } from "./http-suite.ts";

/** Rule 11: clients that leave. */
export function hangUpCases({ serve }: Suite): void {
  it("goes on when the client leaves in mid-handler, and replays to the retry", async () => {
    let runs = 0;
    const started = gate();
    const working = gate();
    const { client, events } = await serve({
      routes: [
        {
          path: "/",
          handler: async () => {
            runs += 1;
            started.open();
            await working.opened;
            return { status: 201, headers: { "X-Own": "1" }, json: { runs } };
          },
        },
      ],
    });
    const sent = client.begin({ key: "k" });
    await started.opened;
    sent.destroy();
    await new Promise((resolve) => sent.once("close", resolve));
    // Long enough for the server to have seen it.
    await systemClock.sleep(30);
    working.open();
    await eventually(() => events.map(({ type }) => type)).toEqual(["claimed", "completed"]);
    const retry = await client.send({ key: "k" });
    expect([retry.status, retry.text, retry.headers["x-own"]]).toEqual([201, '{"runs":1}', "1"]);
    expect([retry.headers["idempotent-replayed"], runs]).toEqual(["true", 1]);
  });

  it("runs once at whatever point the client leaves, and the retry replays", async () => {
    const runs: Record<string, number> = {};
    const body = Buffer.alloc(60_000, "0123456789");
    const { client, port } = await serve({
      options: { leaseMs: 5_000 },
      routes: [
        {
          path: "/",
          handler: async (call) => {
            const key = String(call.header("idempotency-key"));
            const received = await call.body();
            runs[key] = (runs[key] ?? 0) + 1;
            await systemClock.sleep(10);
            return { headers: { "Content-Type": "application/octet-stream" }, body: received };
          },
        },
      ],
    });
    const random = seededRandom(4);
    const headers = { "Content-Type": "application/octet-stream" };
    await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const key = `k${index}`;
        const head = `POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: ${key}\r\nContent-Type: application/octet-stream\r\nContent-Length: ${body.length}\r\n\r\n`;
        const socket = connect(port, "127.0.0.1");
        socket.on("error", () => {});
        const request = Buffer.concat([Buffer.from(head), body]);
        // A quarter leaves while it sends, the others while the handler works or the answer is on its way.
        if (index % 4 === 0) {
          socket.write(request.subarray(0, Math.ceil(random.float() * request.length)));
          await systemClock.sleep(random.float() * 10);
        } else {
          socket.write(request);
          socket.once("data", () => index % 4 === 1 && socket.destroy());
          await systemClock.sleep(random.float() * 40);
        }
        socket.destroy();
        await eventually(async () => (await client.send({ key, body, headers })).body.equals(body)).toBe(true);
        const replay = await client.send({ key, body, headers });
        expect([replay.headers["idempotent-replayed"], runs[key]]).toEqual(["true", 1]);
      }),
    );
  });

  it("runs once when the client leaves while pieces come, and replays or says that it can't", async () => {
    const runs: Record<string, number> = {};
    const { client, events } = await serve({
      routes: [
        {
          path: "/",
          handler: (call) => {
            const key = String(call.header("idempotency-key"));
            runs[key] = (runs[key] ?? 0) + 1;
            return { headers: { "Content-Type": "text/plain" }, body: pieces() };
          },
        },
      ],
    });
    await Promise.all(
      Array.from({ length: 10 }, async (_, index) => {
        const key = `k${index}`;
        const sent = client.begin({ key });
        await eventually(() => runs[key]).toBe(1);
        await systemClock.sleep(index * 3);
        sent.destroy();
        await eventually(async () => problemCode(await client.send({ key }))).not.toBe("IN_PROGRESS");
        const retry = await client.send({ key });
        expect(retry.status === 200 ? retry.text : problemCode(retry)).toMatch(/^(01234567|RESULT_NOT_REPLAYABLE)$/);
        expect(runs[key]).toBe(1);
      }),
    );
    expect(events.filter(({ type }) => type === "claimed")).toHaveLength(10);
  });

  it("lets a waiter that leaves stop waiting", async () => {
    const working = gate();
    const { client, events, storeCalls } = await serve({
      routes: [
        {
          path: "/",
          layer: { inFlight: "wait" },
          handler: async () => {
            await working.opened;
            return { json: 1 };
          },
        },
      ],
    });
    const first = client.send({ key: "k" });
    await eventually(() => events.map(({ type }) => type)).toEqual(["claimed"]);
    const waiter = client.begin({ key: "k" });
    await eventually(() => storeCalls["claim"]).toBe(2);
    waiter.destroy();
    await eventually(() => events).toContainEqual(expect.objectContaining({ type: "waited", outcome: "aborted" }));
    working.open();
    expect((await first).status).toBe(200);
  });

  it("frees the key of a handler that never answers, a lease after its client has been gone for abandonAfterMs", async () => {
    let runs = 0;
    const never = gate();
    const { client, storeCalls } = await serve({
      options: { leaseMs: 1_800, abandonAfterMs: 600 },
      routes: [
        {
          path: "/",
          handler: async ({ execution }) => {
            runs += 1;
            if (runs === 1) await never.opened;
            return { json: { attempt: execution?.attempt } };
          },
        },
      ],
    });
    const sent = client.begin({ key: "k" });
    await eventually(() => runs).toBe(1);
    // The client is still there: the lease is renewed, three times until it would have lapsed.
    await eventually(() => storeCalls["renew"]).toBeGreaterThan(3);
    expectProblem(await client.send({ key: "k" }), 409, "IN_PROGRESS", true);
    const leftAt = systemClock.monotonic();
    sent.destroy();
    await eventually(async () => (await client.send({ key: "k" })).status).toBe(200);
    expect(systemClock.monotonic() - leftAt).toBeGreaterThan(500);
    const retry = await client.send({ key: "k" });
    expect([retry.text, runs]).toEqual(['{"attempt":2}', 2]);
    // The handler that nobody waited for comes back, and changes nothing.
    never.open();
    await systemClock.sleep(20);
    expect((await client.send({ key: "k" })).text).toBe('{"attempt":2}');
  });

  it("is no request yet while its body comes: nothing runs when its client leaves, and the retry is the first", async () => {
    let runs = 0;
    const { client, storeCalls, errors } = await serve({
      routes: [
        {
          path: "/",
          handler: async (call) => {
            await call.body();
            return { json: ++runs };
          },
        },
      ],
    });
    const headers = { "Content-Type": "text/plain" };
    const sent = client.open({ key: "k", headers: { ...headers, "Content-Length": "100" } });
    sent.on("error", () => {});
    sent.write("half");
    await systemClock.sleep(50);
    sent.destroy();
    await systemClock.sleep(50);
    expect([runs, storeCalls, errors]).toEqual([0, {}, []]);
    expect((await client.send({ key: "k", body: "whole", headers })).text).toBe("1");
  });
}

async function* pieces(): AsyncGenerator<string> {
  for (let piece = 0; piece < 8; piece += 1) {
    yield String(piece);
    await systemClock.sleep(3);
  }
}
