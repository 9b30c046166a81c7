import { Readable } from "node:stream";
import express from "express";
import { describe, expect, it } from "vitest";
import { type Clock, systemClock } from "../../../src/clock.ts";
import { eventually } from "./eventually.ts";
import { EXPRESSES, type Service, serve } from "./express-service.ts";
import { type Answer, problem } from "./http-client.ts";

const MEGABYTE = 1_048_576;
const typesOf = ({ events }: Service): string[] => events.map(({ type }) => type);

describe.each(EXPRESSES)("long and broken answers on %s", (_name, express) => {
  it("streams a body over maxBodyBytes through, and gives the retry a definite problem", async () => {
    let runs = 0;
    const service = await serve(({ app, layer }) => {
      app.post("/", layer({ maxBodyBytes: MEGABYTE }), (_req, res) => {
        runs += 1;
        Readable.from(
          (function* () {
            for (let piece = 0; piece < 160; piece += 1) yield Buffer.alloc(65_536, piece);
          })(),
        ).pipe(res);
      });
    }, express);
    const first = await service.client.send({ key: "k" });
    expect(first.body.length).toBe(160 * 65_536);
    expect(first.body.at(-1)).toBe(159);
    const retry = await service.client.send({ key: "k" });
    expect(retry.status).toBe(409);
    expect(problem(retry)).toMatchObject({ code: "RESULT_NOT_REPLAYABLE", retryable: false });
    expect(retry.headers["retry-after"]).toBeUndefined();
    expect(runs).toBe(1);
    expect(service.events).toContainEqual(expect.objectContaining({ type: "tombstoned", reason: "too_large" }));
  });

  it("sends one large piece unchanged and does not keep it, and keeps one of exactly maxBodyBytes", async () => {
    const { client } = await serve(({ app, layer }) => {
      app.post("/:size", layer({ maxBodyBytes: 1_000 }), (req, res) => {
        res.type("bin").send(Buffer.alloc(Number(req.params["size"]), 7));
      });
    }, express);
    for (const [size, status] of [
      [1_000, 200],
      [1_001, 409],
    ] as const) {
      expect((await client.send({ path: `/${size}`, key: "k" })).body.length).toBe(size);
      expect((await client.send({ path: `/${size}`, key: "k" })).status).toBe(status);
    }
  });

  it("passes server-sent events through as they come; the retry gets the definite problem, also after a hang-up", async () => {
    let runs = 0;
    let next = (): void => {};
    const { client } = await serve(({ app, layer }) => {
      app.post("/", layer(), (_req, res) => {
        runs += 1;
        res.set("Content-Type", "text/event-stream").flushHeaders();
        let event = 0;
        next = () => res.write(`data: ${++event}\n\n`);
      });
    }, express);
    const sent = client.open({ key: "k", headers: { "Content-Length": "0" } });
    sent.on("error", () => {});
    sent.end();
    const seen: string[] = [];
    await new Promise<void>((resolve) => {
      sent.on("response", (response) => {
        response.on("error", () => {});
        next();
        response.on("data", (chunk) => {
          seen.push(String(chunk));
          if (seen.length === 3) resolve();
          else next();
        });
      });
    });
    expect(seen).toEqual(["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"]);
    expect(problem(await client.send({ key: "k" }))["code"]).toBe("RESULT_NOT_REPLAYABLE");
    sent.destroy();
    expect(problem(await client.send({ key: "k" }))["code"]).toBe("RESULT_NOT_REPLAYABLE");
    expect(runs).toBe(1);
  });

  it("frees the key of a handler that never answers once the client has been gone for abandonAfterMs and the lease", async () => {
    let runs = 0;
    const { client } = await serve(({ app, layer }) => {
      app.post("/", layer({ leaseMs: 600, abandonAfterMs: 600 }), (_req, res) => {
        runs += 1;
        if (runs > 1) res.json({ attempt: _req.idempotency?.attempt });
      });
    }, express);
    const sent = client.open({ key: "k", headers: { "Content-Length": "0" } });
    sent.on("error", () => {});
    sent.end();
    await eventually(() => runs).toBe(1);
    await systemClock.sleep(900);
    // The client is still there: the lease is renewed.
    expect((await client.send({ key: "k" })).status).toBe(409);
    const leftAt = performance.now();
    sent.destroy();
    await eventually(async () => (await client.send({ key: "k" })).status).toBe(200);
    expect(performance.now() - leftAt).toBeGreaterThan(500);
    expect((await client.send({ key: "k" })).text).toBe('{"attempt":2}');
  });

  it("runs once whenever the client hangs up, and replays or says that it can't", async () => {
    const runs: Record<string, number> = {};
    const pieces = 8;
    const service = await serve(({ app, layer }) => {
      app.post("/", layer({ leaseMs: 5_000, abandonAfterMs: 100 }), async (req, res) => {
        const key = String(req.get("idempotency-key"));
        runs[key] = (runs[key] ?? 0) + 1;
        for (let piece = 0; piece < pieces; piece += 1) {
          await new Promise((resolve) => setTimeout(resolve, 2));
          res.write(`${piece}`.repeat(100));
        }
        res.end();
      });
    }, express);
    const { client } = service;
    const whole = Array.from({ length: pieces }, (_, piece) => `${piece}`.repeat(100)).join("");
    await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const key = `k${index}`;
        const sent = client.open({ key, headers: { "Content-Length": "0" } });
        sent.on("error", () => {});
        sent.on("response", (response) => response.on("error", () => {}).resume());
        sent.end();
        await eventually(() => runs[key]).toBe(1);
        await new Promise((resolve) => setTimeout(resolve, index));
        sent.destroy();
        await eventually(async () => (await client.send({ key })).text).toBe(whole);
        expect(runs[key]).toBe(1);
      }),
    );
  });

  it("keeps a tombstone of an answer whose source the framework took away with the client", async () => {
    let runs = 0;
    const source = new Readable({ read() {} });
    const service = await serve(({ app, layer }) => {
      app.post("/", layer(), (_req, res) => {
        runs += 1;
        source.pipe(res);
        source.push("begun");
      });
    }, express);
    const { client } = service;
    const sent = client.open({ key: "k", headers: { "Content-Length": "0" } });
    sent.on("error", () => {});
    sent.end();
    await new Promise<void>((resolve) => {
      sent.on("response", (response) => response.on("error", () => {}).once("data", () => resolve()));
    });
    sent.destroy();
    await eventually(() => typesOf(service)).toContain("completed");
    expect(problem(await client.send({ key: "k" }))["code"]).toBe("RESULT_NOT_REPLAYABLE");
    expect(runs).toBe(1);
  });

  it("lets a waiter that hangs up stop waiting", async () => {
    let finish = (): void => {};
    const service = await serve(({ app, layer }) => {
      app.post("/", layer({ inFlight: "wait" }), (_req, res) => {
        finish = () => res.json({});
      });
    }, express);
    const { client } = service;
    const first = client.send({ key: "k" });
    await eventually(() => typesOf(service)).toEqual(["claimed"]);
    const waiter = client.open({ key: "k", headers: { "Content-Length": "0" } });
    waiter.on("error", () => {});
    waiter.end();
    await eventually(() => service.storeCalls["claim"]).toBe(2);
    waiter.destroy();
    await expect
      .poll(() => service.events)
      .toContainEqual(expect.objectContaining({ type: "waited", outcome: "aborted" }));
    finish();
    expect((await first).status).toBe(200);
  });

  it("shows the handler the same stream as the client sent, piece by piece or unread", async () => {
    const service = await serve(({ app, layer }) => {
      app.use(layer());
      app.post("/echo", (req, res) => void req.pipe(res.type("bin")));
      app.post("/iterate", async (req, res) => {
        let size = 0;
        for await (const chunk of req) size += chunk.length;
        res.json({ size });
      });
      app.post("/ignore", (_req, res) => void res.json({ ignored: true }));
    }, express);
    const body = Buffer.alloc(8 * MEGABYTE, "0123456789abcdef");
    const headers = { "Content-Type": "application/octet-stream" };
    const echoed = await service.client.send({ path: "/echo", key: "k", body, headers });
    expect(echoed.body.equals(body)).toBe(true);
    expect((await service.client.send({ path: "/iterate", key: "k", body, headers })).text).toBe(
      `{"size":${body.length}}`,
    );
    for (let again = 0; again < 3; again += 1) {
      expect((await service.client.send({ path: "/ignore", key: "k", body, headers })).text).toBe('{"ignored":true}');
    }
    const chunked = await new Promise<Answer>((resolve, reject) => {
      const sent = service.client.open(
        { path: "/iterate", key: "empty", headers: { "Transfer-Encoding": "chunked" } },
        resolve,
      );
      sent.on("error", reject);
      sent.end();
    });
    expect(chunked.text).toBe('{"size":0}');
  });
});

describe("an attempt that was overtaken", () => {
  it.each(["whole", "begun"])("answers with the winner's response unless its own has begun: %s", async (kind) => {
    let runs = 0;
    let finish = (): void => {};
    const { client, store } = await serve(({ app, layer }) => {
      app.post("/", layer({ leaseMs: 100 }), (_req, res) => {
        runs += 1;
        if (runs > 1) return void res.status(201).set("X-Run", "2").json({ run: 2 });
        res.set("X-Run", "1").set("X-Stale", "1");
        if (kind === "begun") res.write("own ");
        finish = () => res.end("answer");
      });
    });
    store.executions.renew = async () => ({ status: "lost" });
    const first = client.send({ key: "k" });
    await eventually(() => runs).toBe(1);
    await eventually(async () => (await client.send({ key: "k" })).status).toBe(201);
    finish();
    const { status, text, headers } = await first;
    if (kind === "begun") expect([status, text, headers["x-run"]]).toEqual([200, "own answer", "1"]);
    else {
      expect([status, text, headers["x-run"], headers["idempotent-replayed"]]).toEqual([201, '{"run":2}', "2", "true"]);
      expect([headers["x-stale"], headers["x-powered-by"]]).toEqual([undefined, "Express"]);
    }
    expect(runs).toBe(2);
  });
});

describe("a body that arrives slowly", () => {
  it("is no request yet when its client leaves: nothing runs, and the retry is the first", async () => {
    let runs = 0;
    const { client, storeCalls } = await serve(({ app, layer }) => {
      app.post("/", layer(), express.text(), (_req, res) => void res.json(++runs));
    });
    const sent = client.open({ key: "k", headers: { "Content-Type": "text/plain", "Content-Length": "100" } });
    sent.on("error", () => {});
    sent.write("half");
    await systemClock.sleep(50);
    sent.destroy();
    await systemClock.sleep(50);
    expect([runs, storeCalls]).toEqual([0, {}]);
    expect((await client.send({ key: "k", body: "whole", headers: { "Content-Type": "text/plain" } })).text).toBe("1");
  });

  it("gives the layer's decision to parsers that come later, also when an async middleware stood before it", async () => {
    const { client } = await serve(({ app, layer }) => {
      app.use((_req, _res, next) => void setTimeout(next, 30));
      app.use(layer({ operation: "outer" }), layer({ operation: "inner" }));
      app.post("/", express.json(), (req, res) => void res.json(req.body));
    });
    expect((await client.send({ key: "k", body: { a: 1 } })).text).toBe('{"a":1}');
    expect((await client.send({ key: "k", body: { a: 1 } })).headers["idempotent-replayed"]).toBe("true");
    expect((await client.send({ key: "k", body: { a: 2 } })).status).toBe(422);
  });
});

describe("after quiescence", () => {
  it("no timer remains: of answers, replays, refusals, hang-ups and handlers that never answer", async () => {
    const live = new Set<object>();
    const clock: Clock = {
      ...systemClock,
      setTimer(ms, fire, options) {
        const onFire = (): void => {
          live.delete(timer);
          fire();
        };
        const clear = (): void => {
          live.delete(timer);
          timer.clear();
        };
        const timer = systemClock.setTimer(ms, onFire, options);
        live.add(timer);
        return { clear };
      },
    };
    const { client } = await serve(({ app, layer }) => {
      app.post("/answers", layer({ clock }), (_req, res) => void res.json({}));
      app.post("/never", layer({ clock, leaseMs: 60_000, abandonAfterMs: 50 }), () => {});
    });
    for (const key of ["k", "k", "bad,key"]) await client.send({ path: "/answers", key });
    const sent = client.open({ path: "/never", key: "k", headers: { "Content-Length": "0" } });
    sent.on("error", () => {});
    sent.end();
    await eventually(() => live.size).toBe(1);
    expect((await client.send({ path: "/never", key: "k" })).status).toBe(409);
    sent.destroy();
    await eventually(() => live.size).toBe(0);
  });
});
