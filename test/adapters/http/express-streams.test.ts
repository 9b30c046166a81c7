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

describe("a body that arrives slowly", () => {
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
