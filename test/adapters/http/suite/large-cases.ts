import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { systemClock } from "../../../../src/clock.ts";
import { problemCode } from "../http-client.ts";
import { expectProblem } from "./expect-problem.ts";
import { gate } from "./gate.ts";
import type { Suite } from "./http-suite.ts";

const MEGABYTE = 1_048_576;

/** Rule 10: bodies that are too large to keep, or have no end. */
export function largeCases({ serve }: Suite): void {
  it("carries 10 MB both ways, and replays them", async () => {
    let runs = 0;
    const { client } = await serve({
      options: { maxBodyBytes: 11 * MEGABYTE, maxRequestBytes: 11 * MEGABYTE, storeTimeoutMs: 20_000 },
      routes: [
        {
          path: "/",
          handler: async (call) => {
            runs += 1;
            return { headers: { "Content-Type": "application/octet-stream" }, body: await call.body() };
          },
        },
      ],
    });
    const body = Buffer.alloc(10 * MEGABYTE);
    for (let at = 0; at < body.length; at += 4) body.writeUInt32LE(Math.imul(at, 2_654_435_761) >>> 0, at);
    const sending = { key: "k", body, headers: { "Content-Type": "application/octet-stream" } };
    const first = await client.send(sending);
    const replay = await client.send(sending);
    expect([first.body.equals(body), replay.body.equals(body)]).toEqual([true, true]);
    expect([replay.headers["idempotent-replayed"], runs]).toEqual(["true", 1]);
  });

  it("sends one large piece unchanged and does not keep it, and keeps one of exactly maxBodyBytes", async () => {
    const { client } = await serve({
      options: { maxBodyBytes: 1_000 },
      routes: [{ path: "/", handler: (call) => ({ body: Buffer.alloc(Number(call.header("x-size")), 7) }) }],
    });
    for (const [size, status] of [
      [1_000, 200],
      [1_001, 409],
    ] as const) {
      const sending = { key: `k${size}`, headers: { "X-Size": String(size) } };
      expect((await client.send(sending)).body).toEqual(Buffer.alloc(size, 7));
      expect((await client.send(sending)).status).toBe(status);
    }
  });

  it("streams a body over maxBodyBytes through without keeping it, and gives the retry a definite problem", async () => {
    const PIECES = 2_000;
    let runs = 0;
    let made = 0;
    async function* endless(): AsyncGenerator<Buffer> {
      for (let piece = 0; piece < PIECES; piece += 1) {
        made += 1;
        yield Buffer.alloc(65_536, piece % 251);
      }
    }
    const { client, events } = await serve({
      options: { maxBodyBytes: MEGABYTE },
      routes: [
        {
          path: "/",
          handler: () => {
            runs += 1;
            return { headers: { "Content-Type": "application/octet-stream" }, body: endless() };
          },
        },
      ],
    });
    const before = memory();
    let most = 0;
    let measuredAt = 0;
    let mostAhead = 0;
    let received = 0;
    await new Promise<void>((resolve, reject) => {
      const sent = client.open({ key: "k", headers: { "Content-Length": "0" } });
      sent.on("error", reject);
      sent.on("response", (response) => {
        response.on("error", reject);
        response.on("end", () => resolve());
        response.on("data", (chunk: Buffer) => {
          received += chunk.length;
          if (received - measuredAt > 32 * MEGABYTE) {
            measuredAt = received;
            most = Math.max(most, memory() - before);
          }
          mostAhead = Math.max(mostAhead, made * 65_536 - received);
        });
      });
      sent.end();
    });
    expect(received).toBe(PIECES * 65_536);
    // 125 MiB went through. The handler was never far ahead of the client, and nothing piled up on the way.
    expect(mostAhead).toBeLessThan(16 * MEGABYTE);
    expect(most).toBeLessThan(48 * MEGABYTE);
    for (let again = 0; again < 2; again += 1) {
      expectProblem(await client.send({ key: "k" }), 409, "RESULT_NOT_REPLAYABLE", false);
    }
    expect(runs).toBe(1);
    expect(events).toContainEqual(expect.objectContaining({ type: "tombstoned", reason: "too_large" }));
  });

  it("passes server-sent events through as they come; the retry gets the definite problem, also after a hang-up", async () => {
    let runs = 0;
    const steps = [gate(), gate(), gate(), gate()];
    async function* feed(): AsyncGenerator<string> {
      for (const [index, step] of steps.entries()) {
        await step.opened;
        yield `data: ${index}\n\n`;
      }
    }
    const { client } = await serve({
      routes: [
        {
          path: "/",
          handler: () => {
            runs += 1;
            return { headers: { "Content-Type": "text/event-stream" }, body: feed() };
          },
        },
      ],
    });
    const sent = client.open({ key: "k", headers: { "Content-Length": "0" } });
    sent.on("error", () => {});
    sent.end();
    const seen: string[] = [];
    steps[0]?.open();
    await new Promise<void>((resolve) => {
      sent.on("response", (response) => {
        response.on("error", () => {});
        response.on("data", (chunk) => {
          seen.push(String(chunk));
          if (seen.length === 3) resolve();
          else steps[seen.length]?.open();
        });
      });
    });
    expect(seen).toEqual(["data: 0\n\n", "data: 1\n\n", "data: 2\n\n"]);
    const inTime = async (): Promise<unknown> => {
      // The tombstone is written beside the stream.
      for (let tries = 0; tries < 100; tries += 1) {
        const code = problemCode(await client.send({ key: "k" }));
        if (code !== "IN_PROGRESS") return code;
        await systemClock.sleep(10);
      }
      return "IN_PROGRESS";
    };
    expect(await inTime()).toBe("RESULT_NOT_REPLAYABLE");
    sent.destroy();
    expect(problemCode(await client.send({ key: "k" }))).toBe("RESULT_NOT_REPLAYABLE");
    steps[3]?.open();
    expect(runs).toBe(1);
  });

  it("gives pieces out as they come, and holds only the end until it is durable", async () => {
    const next = gate();
    async function* two(): AsyncGenerator<string> {
      yield "one ";
      await next.opened;
      yield "two";
    }
    const { client } = await serve({
      routes: [{ path: "/", handler: () => ({ headers: { "Content-Type": "text/plain" }, body: two() }) }],
    });
    const sent = client.open({ key: "k", headers: { "Content-Length": "0" } });
    sent.end();
    const text = await new Promise<string>((resolve, reject) => {
      let received = "";
      sent.on("error", reject);
      sent.on("response", (response) => {
        response.on("end", () => resolve(received));
        response.on("data", (chunk) => {
          received += chunk;
          // Were it held back, nobody would ever open this.
          next.open();
        });
      });
    });
    expect(text).toBe("one two");
    const replay = await client.send({ key: "k" });
    expect([replay.text, replay.headers["idempotent-replayed"]]).toEqual(["one two", "true"]);
  });

  it("refuses a request body over maxRequestBytes with 413, announced or not", async () => {
    let runs = 0;
    const { client, storeCalls } = await serve({
      options: { maxRequestBytes: 1_000 },
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
    const large = { key: "k", body: "x".repeat(300_000), headers };
    expectProblem(await client.send(large), 413, "REQUEST_TOO_LARGE", false);
    const chunked = { key: "k", headers: { ...headers, "Transfer-Encoding": "chunked" } };
    const pieces = Array.from({ length: 300 }, () => Buffer.alloc(1_000, "x"));
    expectProblem(await client.sendPieces(chunked, pieces), 413, "REQUEST_TOO_LARGE", false);
    expect([runs, storeCalls]).toEqual([0, {}]);
    expect((await client.send({ key: "k", body: "x".repeat(1_000), headers })).text).toBe("1");
  });
}

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** What is held in buffers and on the heap. */
function memory(): number {
  // The first one only marks what buffers held.
  collectGarbage();
  collectGarbage();
  const { arrayBuffers, heapUsed } = process.memoryUsage();
  return arrayBuffers + heapUsed;
}
