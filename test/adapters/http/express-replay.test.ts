import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { gzipSync } from "node:zlib";
import type { Request, Response } from "express";
import { describe, expect, it } from "vitest";
import { EXPRESSES, serve } from "./express-service.ts";
import { endToEnd, problem } from "./http-client.ts";

const ALL_BYTES = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
const HERE = import.meta.filename;

type Handler = (req: Request, res: Response) => unknown;

/** Answers of every kind; each is compared with its replay, and where it says so with itself without the layer. */
const ANSWERS: readonly (readonly [name: string, handler: Handler])[] = [
  ["json of an object", (_req, res) => res.json({ a: [1, "ü"] })],
  ["json(0)", (_req, res) => res.json(0)],
  ["json(false)", (_req, res) => res.json(false)],
  ["json(null)", (_req, res) => res.json(null)],
  ["a text", (_req, res) => res.type("text").send("grüße")],
  ["an empty text", (_req, res) => res.send("")],
  ["an empty 200", (_req, res) => res.end()],
  ["all 256 byte values", (_req, res) => res.type("bin").send(ALL_BYTES)],
  ["201 with Location and ETag", (_req, res) => res.status(201).location("/x").set("ETag", '"v1"').json({ id: 1 })],
  ["204", (_req, res) => res.status(204).end()],
  ["sendStatus(204)", (_req, res) => res.sendStatus(204)],
  ["205", (_req, res) => res.status(205).end()],
  ["304", (_req, res) => res.status(304).set("ETag", '"v1"').end()],
  ["a redirect", (_req, res) => res.redirect(303, "/elsewhere")],
  ["end with a latin1 text", (_req, res) => res.end("fa\u00e7ade", "latin1")],
  [
    "write and end",
    (_req, res) => {
      res.write("one ");
      res.write(Buffer.from("two "));
      res.end("three");
    },
  ],
  [
    "writeHead with an object",
    (_req, res) => res.writeHead(202, { "X-A": "1", "Content-Type": "text/plain" }).end("x"),
  ],
  [
    "writeHead with a reason and a list",
    (_req, res) => {
      res.writeHead(202, "Fine", ["X-A", "1", "X-B", "2", "Content-Length", "4"] as never);
      res.end("done");
    },
  ],
  [
    "pieces with a Content-Length",
    (_req, res) => {
      res.set("Content-Length", "6");
      res.write("abc");
      res.write("def", () => res.end());
    },
  ],
  [
    "flushed headers",
    (_req, res) => {
      res.type("text").flushHeaders();
      res.write("x");
      res.end();
    },
  ],
  [
    "flushed headers with Content-Length 0",
    (_req, res) => {
      res.set("Content-Length", "0").flushHeaders();
      res.end();
    },
  ],
  ["a pipe", (_req, res) => Readable.from(["a", "b", "c"]).pipe(res.type("text"))],
  [
    "an async generator",
    async (_req, res) => {
      async function* lines(): AsyncGenerator<string> {
        for (const line of ["1\n", "2\n"]) {
          await new Promise(setImmediate);
          yield line;
        }
      }
      await pipeline(Readable.from(lines()), res);
    },
  ],
  ["sendFile", (_req, res) => res.sendFile(HERE)],
  ["an encoded body", (_req, res) => res.set("Content-Encoding", "gzip").type("text").send(gzipSync("squeezed"))],
  [
    "repeated headers",
    (_req, res) => {
      res
        .append("Link", "<a>; rel=x")
        .append("Link", "<b>; rel=y")
        .set("Warning", ["1 - a", "2 - b"] as never);
      res.send("x");
    },
  ],
];

describe.each(EXPRESSES)("a replay on %s", (_name, express) => {
  it.each(ANSWERS)("equals the first answer: %s", async (_what, handler) => {
    let runs = 0;
    const { client } = await serve(({ app, layer }) => {
      const counted: Handler = (req, res) => {
        runs += 1;
        return handler(req, res);
      };
      app.post("/plain", counted as never);
      app.post("/", layer(), counted as never);
    }, express);
    const plain = await client.send({ path: "/plain", key: "k" });
    runs = 0;
    const first = await client.send({ key: "k" });
    const second = await client.send({ key: "k" });
    expect(runs).toBe(1);
    for (const answer of [first, second]) {
      expect(answer.status).toBe(plain.status);
      expect(answer.body).toEqual(plain.body);
      expect(endToEnd(answer)).toEqual(endToEnd(plain));
    }
    expect(first.headers["idempotent-replayed"]).toBeUndefined();
    expect(second.headers["idempotent-replayed"]).toBe("true");
  });
});

describe("what a replay leaves out and takes in", () => {
  const cookies: Handler = (_req, res) => {
    res.cookie("a", "1").cookie("b", "2").set("X-Private", "p").json({});
  };

  it("drops Set-Cookie unless it is asked for", async () => {
    const { client } = await serve(({ app, layer }) => {
      app.post("/drop", layer(), cookies as never);
      app.post("/replay", layer({ setCookie: "replay", excludeHeaders: ["x-private"] }), cookies as never);
    });
    const first = await client.send({ path: "/drop", key: "k" });
    expect(first.headers["set-cookie"]).toHaveLength(2);
    expect((await client.send({ path: "/drop", key: "k" })).headers["set-cookie"]).toBeUndefined();
    await client.send({ path: "/replay", key: "k" });
    const replay = await client.send({ path: "/replay", key: "k" });
    expect(replay.headers["set-cookie"]).toEqual(["a=1; Path=/", "b=2; Path=/"]);
    expect(replay.headers["x-private"]).toBeUndefined();
  });

  it("lets the present header of an outer layer win, once, but not over what the handler has set", async () => {
    let requests = 0;
    const { client } = await serve(({ app, layer }) => {
      app.use((_req, res, next) => {
        requests += 1;
        res.set("X-Request-Id", `r${requests}`).set("Cache-Control", "no-store").cookie("sid", `s${requests}`);
        next();
      });
      app.use(layer({ setCookie: "replay" }));
      app.post("/", (_req, res) => {
        res.set("Cache-Control", "max-age=60").cookie("order", "1").json({});
      });
    });
    await client.send({ key: "k" });
    const replay = await client.send({ key: "k" });
    expect(replay.rawHeaders.filter((name) => name === "X-Request-Id")).toHaveLength(1);
    expect(replay.headers["x-request-id"]).toBe("r2");
    expect(replay.headers["cache-control"]).toBe("max-age=60");
    expect(replay.headers["set-cookie"]).toEqual(["sid=s2; Path=/", "order=1; Path=/"]);
  });

  it("leaves out hop-by-hop headers and those that Connection names", async () => {
    const { client } = await serve(({ app, layer }) => {
      app.post("/", layer(), (_req, res) => {
        res.set({ Connection: "keep-alive, X-Hop", "X-Hop": "1", "Keep-Alive": "timeout=9", "X-End": "1" }).json({});
      });
    });
    await client.send({ key: "k" });
    const replay = await client.send({ key: "k" });
    expect(replay.headers["x-hop"]).toBeUndefined();
    expect(replay.headers["keep-alive"]).not.toBe("timeout=9");
    expect(replay.headers["x-end"]).toBe("1");
  });

  it("decodes a stored body for a client that does not take its coding", async () => {
    const { client } = await serve(({ app, layer }) => {
      app.post("/", layer(), (_req, res) => {
        res.set({ "Content-Encoding": "gzip", ETag: '"v"', "Content-Type": "text/plain" });
        res.end(gzipSync("squeezed"));
      });
    });
    await client.send({ key: "k", headers: { "Accept-Encoding": "gzip" } });
    const plain = await client.send({ key: "k", headers: { "Accept-Encoding": "identity" } });
    expect([plain.text, plain.headers["content-encoding"], plain.headers.etag]).toEqual([
      "squeezed",
      undefined,
      'W/"v"',
    ]);
    expect(plain.headers.vary).toBe("Accept-Encoding");
    const encoded = await client.send({ key: "k", headers: { "Accept-Encoding": "br, gzip;q=0.5" } });
    expect([encoded.headers["content-encoding"], encoded.headers.etag]).toEqual(["gzip", '"v"']);
    expect(encoded.body).toEqual(gzipSync("squeezed"));
    expect((await client.send({ key: "k" })).headers["content-encoding"]).toBe("gzip");
  });

  it("names a replay as it is told to", async () => {
    const { client } = await serve(({ app, layer }) => {
      app.post("/", layer({ replayHeader: "X-Again" }), (_req, res) => void res.json({}));
    });
    await client.send({ key: "k" });
    expect((await client.send({ key: "k" })).headers["x-again"]).toBe("true");
  });

  it("replays what ctx.complete() said, to the first client too", async () => {
    const { client } = await serve(({ app, layer }) => {
      app.post("/", layer(), async (req, res) => {
        await req.idempotency?.complete({ status: 201, headers: { Location: "/1" }, body: { id: 1 } });
        res.status(500).json({ id: 2 });
      });
      app.post("/ok", layer(), async (req, res) => {
        await req.idempotency?.complete({ status: 201, headers: { Location: "/1" }, body: { id: 1 } });
        res.status(200).json({ id: 2 });
      });
      app.post("/wrong", layer(), async (req, res) => {
        await req.idempotency?.complete({ status: 99 });
        res.json({});
      });
    });
    expect((await client.send({ key: "k" })).status).toBe(500);
    expect((await client.send({ key: "k" })).text).toBe('{"id":1}');
    for (const mark of [undefined, "true"]) {
      const answer = await client.send({ path: "/ok", key: "k" });
      expect([answer.status, answer.headers.location, answer.text]).toEqual([201, "/1", '{"id":1}']);
      expect(answer.headers["idempotent-replayed"]).toBe(mark);
    }
    expect((await client.send({ path: "/wrong", key: "k" })).status).toBe(500);
  });

  it("looks to the handler as if its answer had been sent", async () => {
    const seen: unknown[] = [];
    const { client } = await serve(({ app, layer }) => {
      app.post("/", layer(), (_req, res) => {
        seen.push(res.headersSent, res.writableEnded);
        res.json({ first: true });
        seen.push(res.headersSent, res.writableEnded);
        expect(() => res.setHeader("X-Late", "1")).toThrowError(
          expect.objectContaining({ code: "ERR_HTTP_HEADERS_SENT" }),
        );
        expect(() => res.json({ second: true })).toThrowError(
          expect.objectContaining({ code: "ERR_HTTP_HEADERS_SENT" }),
        );
        seen.push(res.write("more"));
        res.end("more");
      });
    });
    expect((await client.send({ key: "k" })).text).toBe('{"first":true}');
    expect(seen).toEqual([false, false, true, true, false]);
  });

  it("keeps by status as the policy says", async () => {
    const runs: Record<string, number> = {};
    const { client } = await serve(({ app, layer }) => {
      const answer = (req: Request, res: Response): void => {
        runs[req.originalUrl] = (runs[req.originalUrl] ?? 0) + 1;
        res.status(Number(req.params["status"])).json({});
      };
      app.post("/success/:status", layer(), answer);
      app.post("/deterministic/:status", layer({ record: "deterministic" }), answer);
      app.post("/all/:status", layer({ record: "all" }), answer);
      app.post("/own/:status", layer({ record: (status) => (status === 422 ? "store" : "release") }), answer);
      app.post(
        "/throws/:status",
        layer({
          record: () => {
            throw new Error("no");
          },
        }),
        answer,
      );
    });
    const runsOf = async (path: string): Promise<number | undefined> => {
      await client.send({ path, key: "k" });
      await client.send({ path, key: "k" });
      return runs[path];
    };
    for (const status of [400, 404, 422, 429, 500, 503]) expect(await runsOf(`/success/${status}`)).toBe(2);
    for (const status of [200, 302, 399]) expect(await runsOf(`/success/${status}`)).toBe(1);
    for (const status of [400, 404, 422, 200]) expect(await runsOf(`/deterministic/${status}`)).toBe(1);
    for (const status of [401, 403, 407, 408, 409, 423, 425, 429, 500]) {
      expect(await runsOf(`/deterministic/${status}`)).toBe(2);
    }
    for (const status of [200, 429, 500, 503]) expect(await runsOf(`/all/${status}`)).toBe(1);
    expect([await runsOf("/own/422"), await runsOf("/own/200"), await runsOf("/throws/500")]).toEqual([1, 2, 1]);
  });

  it("keeps Express's own error answer when everything is kept", async () => {
    let runs = 0;
    const { client } = await serve(({ app, layer }) => {
      app.post("/", layer({ record: "all" }), () => {
        runs += 1;
        throw new Error("no luck");
      });
    });
    const first = await client.send({ key: "k" });
    const second = await client.send({ key: "k" });
    expect([second.status, second.text, runs]).toEqual([500, first.text, 1]);
  });

  it("never sends a damaged record, and runs nothing", async () => {
    let runs = 0;
    const { client, store } = await serve(({ app, layer }) => {
      app.post("/", layer(), (_req, res) => {
        runs += 1;
        res.json({});
      });
    });
    await client.send({ key: "k" });
    const damaged = store.executions.claim.bind(store.executions);
    store.executions.claim = async (request, call) => {
      const result = await damaged(request, call);
      if (result.status === "completed") result.outcome.bytes[20] = (result.outcome.bytes[20] ?? 0) ^ 1;
      return result;
    };
    const answer = await client.send({ key: "k" });
    expect(answer.status).toBe(500);
    expect(problem(answer)).toMatchObject({ code: "RECORD_CORRUPT", retryable: false });
    expect(runs).toBe(1);
  });
});
