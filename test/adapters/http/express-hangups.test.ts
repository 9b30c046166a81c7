import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { RequestHandler } from "express";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "./eventually.ts";
import { EXPRESSES, type Service, serve } from "./express-service.ts";
import { problem } from "./http-client.ts";

const typesOf = ({ events }: Service): string[] => events.map(({ type }) => type);

function requestText(path: string, key: string, rest = "Content-Length: 0\r\n\r\n"): string {
  return `POST ${path} HTTP/1.1\r\nHost: a\r\nIdempotency-Key: ${key}\r\n${rest}`;
}

function open(port: number, text: string): Socket {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {}).resume();
  socket.write(text);
  return socket;
}

async function* slowly(...pieces: string[]) {
  for (const piece of pieces) {
    yield piece;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

let folder = "";
let file = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "evenkeel-"));
  file = join(folder, "answer.txt");
  writeFileSync(file, "a line of the answer\n".repeat(2_000));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe.each(EXPRESSES)("a client that hangs up before the answer starts on %s", (_name, express) => {
  /** Runs a handler whose client is gone by the time it answers. */
  async function afterHangUp(answer: RequestHandler) {
    let runs = 0;
    let goOn = (): void => {};
    let isGone = false;
    const service = await serve(({ app, layer }) => {
      app.post("/", layer(), async (req, res, next) => {
        runs += 1;
        if (runs > 1) return void res.json("second run");
        req.socket.once("close", () => {
          isGone = true;
        });
        await new Promise<void>((resolve) => {
          goOn = resolve;
        });
        try {
          await answer(req, res, next);
        } catch (error) {
          next(error);
        }
      });
    }, express);
    const socket = open(service.port, requestText("/", "k"));
    await eventually(() => runs).toBe(1);
    socket.destroy();
    await eventually(() => isGone).toBe(true);
    goOn();
    await eventually(() => typesOf(service).length).toBeGreaterThan(1);
    const retry = await service.client.send({ key: "k" });
    return { retry, types: typesOf(service), runs: () => runs };
  }

  it.each<[string, RequestHandler]>([
    ["res.sendFile()", (_req, res) => res.sendFile(file)],
    ["res.sendFile() that reports to next", (_req, res, next) => res.sendFile(file, (error) => error && next(error))],
    ["res.download() that reports to next", (_req, res, next) => res.download(file, (error) => error && next(error))],
    ["pipeline() of a stream", (_req, res) => pipeline(new Readable({ read() {} }), res)],
  ])("promptly leaves a tombstone of what the framework doesn't take: %s", async (_case, answer) => {
    const { retry, runs } = await afterHangUp(answer as RequestHandler);
    expect([retry.status, problem(retry)["code"], runs()]).toEqual([409, "RESULT_NOT_REPLAYABLE", 1]);
  });

  it("keeps or gives up what a generator makes, and runs nothing again", async () => {
    const { retry, runs } = await afterHangUp((_req, res) => pipeline(slowly("who", "le"), res));
    expect(retry.status === 200 ? retry.text : problem(retry)["code"]).toMatch(/^(whole|RESULT_NOT_REPLAYABLE)$/);
    expect(runs()).toBe(1);
  });

  it.each<[string, RequestHandler, string]>([
    ["json", (_req, res) => void res.json({ whole: true }), '{"whole":true}'],
    ["pipe", (_req, res) => void Readable.from(["who", "le"]).pipe(res), "whole"],
    [
      "writes",
      async (_req, res) => {
        res.write("who");
        await Promise.resolve();
        res.end("le");
      },
      "whole",
    ],
  ])("keeps what the handler still writes: %s", async (_case, answer, text) => {
    const { retry, runs } = await afterHangUp(answer);
    expect([retry.text, retry.headers["idempotent-replayed"], runs()]).toEqual([text, "true", 1]);
  });

  it.each<[string, RequestHandler]>([
    [
      "thrown",
      () => {
        throw new Error("genuine");
      },
    ],
    ["next(err)", (_req, _res, next) => next(new Error("genuine"))],
    [
      "of a source",
      (_req, res, next) =>
        void new Readable({
          read() {
            this.destroy(new Error("genuine"));
          },
        })
          .on("error", next)
          .pipe(res),
    ],
  ])("frees the key of a handler with an error of its own: %s", async (_case, answer) => {
    const { retry, types, runs } = await afterHangUp(answer);
    expect(types.slice(0, 2)).toEqual(["claimed", "released"]);
    expect([retry.text, runs()]).toEqual(['"second run"', 2]);
  });
});

describe.each(EXPRESSES)("pipelined requests on %s", (_name, express) => {
  it("stop waiting when their client leaves before they have a turn on the connection", async () => {
    let finish = (): void => {};
    const service = await serve(({ app, layer }) => {
      app.post("/", layer({ inFlight: "wait" }), (_req, res) => {
        finish = () => res.json({});
      });
    }, express);
    const socket = open(service.port, requestText("/", "k").repeat(2));
    await eventually(() => service.storeCalls["claim"]).toBe(2);
    socket.destroy();
    await eventually(() => service.events).toContainEqual(
      expect.objectContaining({ type: "waited", outcome: "aborted" }),
    );
    finish();
  });

  it("lose the claim of a handler that never answers once the client has left", async () => {
    let runs = 0;
    let finish = (): void => {};
    const { client, port } = await serve(({ app, layer }) => {
      app.use(layer({ leaseMs: 200, abandonAfterMs: 100 }));
      app.post("/first", (_req, res) => {
        finish = () => res.json({});
      });
      app.post("/never", (_req, res) => {
        runs += 1;
        if (runs > 1) res.json({});
      });
    }, express);
    const socket = open(port, requestText("/first", "a") + requestText("/never", "b"));
    await eventually(() => runs).toBe(1);
    socket.destroy();
    await eventually(async () => (await client.send({ path: "/never", key: "b" })).status).toBe(200);
    finish();
  });

  it("are silent when their body is cut off: nothing runs, and the application's error handler is not called", async () => {
    const errors: unknown[] = [];
    let finish = (): void => {};
    let seen = 0;
    let closed = 0;
    const { app, client, port, server, storeCalls } = await serve(({ app: mounted, layer }) => {
      mounted.use((_req, _res, next) => {
        seen += 1;
        next();
      });
      mounted.use(layer());
      mounted.post("/first", (_req, res) => {
        finish = () => res.json({});
      });
      mounted.post("/second", (_req, res) => void res.json({}));
    }, express);
    const onError: Parameters<typeof app.use>[0] = ((
      error: unknown,
      _req: unknown,
      _res: unknown,
      next: (e: unknown) => void,
    ) => {
      errors.push(error);
      next(error);
    }) as never;
    app.use(onError);
    server.on("connection", (connection) => connection.on("close", () => (closed += 1)));
    const socket = open(
      port,
      requestText("/first", "a") + requestText("/second", "b", "Content-Length: 10\r\n\r\nhalf"),
    );
    await eventually(() => seen).toBe(2);
    socket.destroy();
    await eventually(() => closed).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect([errors, storeCalls["claim"]]).toEqual([[], 1]);
    finish();
    expect((await client.send({ path: "/second", key: "b" })).status).toBe(200);
  });

  it("leave nothing on their connection", async () => {
    const counts = new Set<string>();
    const { port } = await serve(({ app, layer }) => {
      app.post("/", (req, _res, next) => {
        const { socket } = req;
        counts.add(`${socket.listenerCount("close")} ${Object.hasOwn(socket, "destroy")}`);
        next();
      });
      app.post("/", layer(), (_req, res) => void res.json({}));
    }, express);
    const socket = connect(port, "127.0.0.1");
    for (let index = 0; index < 30; index += 1) {
      socket.write(requestText("/", `k${index}`));
      await new Promise((resolve) => socket.once("data", resolve));
    }
    expect([...counts]).toHaveLength(1);
    expect([...counts][0]).toContain("false");
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on("warning", onWarning);
    let answers = 0;
    socket.on("data", (data) => {
      answers += String(data).split("HTTP/1.1 200").length - 1;
    });
    socket.write(Array.from({ length: 40 }, (_, index) => requestText("/", `p${index}`)).join(""));
    await eventually(() => answers).toBe(40);
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
    socket.destroy();
  });
});
