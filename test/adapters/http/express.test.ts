import { describe, expect, it } from "vitest";
import { EXPRESSES, serve } from "./express-service.ts";
import { problem } from "./http-client.ts";
import { expectProblem } from "./suite/expect-problem.ts";

describe.each(EXPRESSES)("idempotency() on %s", (_name, express) => {
  it("gives errors to the application's own error handler unchanged", async () => {
    const seen: unknown[] = [];
    const thrown = new TypeError("mine");
    const { client } = await serve(({ app, layer }) => {
      app.post("/", layer(), () => {
        throw thrown;
      });
      app.use(((error: unknown, _req: unknown, res: never, _next: unknown) => {
        seen.push(error);
        (res as { status(code: number): { json(body: unknown): void } }).status(418).json({ error: "teapot" });
      }) as never);
    }, express);
    const answer = await client.send({ key: "k" });
    expect(answer.status).toBe(418);
    expect(answer.text).toBe('{"error":"teapot"}');
    expect(seen).toEqual([thrown]);
    expect(seen[0]).toBe(thrown);
  });

  it("keeps two routers with the same relative path apart when the layer is mounted inside them", async () => {
    let runs = 0;
    const { client } = await serve(({ app, layer }) => {
      for (const mount of ["/a", "/b"]) {
        const router = express.Router();
        router.use(layer());
        router.post("/items", (_req, res) => {
          runs += 1;
          res.json({ runs });
        });
        app.use(mount, router);
      }
    }, express);
    expect((await client.send({ path: "/a/items", key: "k" })).text).toBe('{"runs":1}');
    expect((await client.send({ path: "/b/items", key: "k" })).text).toBe('{"runs":2}');
  });

  it.each(["before", "after"])("compares bodies when it stands %s the body parser", async (where) => {
    let runs = 0;
    const bodies: unknown[] = [];
    const { client } = await serve(({ app, layer }) => {
      const parsers = [express.json(), express.text(), express.urlencoded({ extended: true }), express.raw()];
      if (where === "before") app.use(layer(), ...parsers);
      else app.use(...parsers, layer());
      app.post("/", (req, res) => {
        runs += 1;
        bodies.push(req.body);
        res.json({ runs });
      });
    }, express);
    const json = { "Content-Type": "application/json" };
    const send = (body: unknown, key: string, headers: Record<string, string> = json, path = "/") =>
      client.send({ key, body, headers, path });
    expect((await send('{"a":1,"b":[2]}', "k")).text).toBe('{"runs":1}');
    expect((await send('{ "b": [2],\n"a": 1 }', "k")).text).toBe('{"runs":1}');
    const other = await send('{"a":1,"b":[3]}', "k");
    expect(other.status).toBe(422);
    expect(problem(other)).toMatchObject({ title: "Idempotency-Key is already used", code: "FINGERPRINT_MISMATCH" });
    expect((await send('{"a":1,"b":[2]}', "k", json, "/?q=1")).status).toBe(422);
    expect((await send('{"a":1,"b":[2]}', "k")).text).toBe('{"runs":1}');

    const text = { "Content-Type": "text/plain" };
    expect((await send("hello", "t", text)).text).toBe('{"runs":2}');
    expect((await send("hello", "t", text)).text).toBe('{"runs":2}');
    expect((await send("Hello", "t", text)).status).toBe(422);
    expect((await send("hello", "t", { "Content-Type": "text/plain; charset=latin1" })).status).toBe(422);

    const form = { "Content-Type": "application/x-www-form-urlencoded" };
    expect((await send("a=1&b=2", "f", form)).text).toBe('{"runs":3}');
    expect((await send("a=1&b=2", "f", form)).text).toBe('{"runs":3}');
    expect((await send("a=1&b=3", "f", form)).status).toBe(422);

    const octets = { "Content-Type": "application/octet-stream" };
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
    expect((await send(bytes, "o", octets)).text).toBe('{"runs":4}');
    expect((await send(bytes, "o", octets)).text).toBe('{"runs":4}');
    expect((await send(bytes.subarray(1), "o", octets)).status).toBe(422);

    expect((await send("", "e", json)).text).toBe('{"runs":5}');
    expect((await send("", "e", json)).text).toBe('{"runs":5}');

    // No parser takes this one: its bytes are compared all the same.
    const odd = { "Content-Type": "application/x-odd" };
    expect((await send("one", "x", odd)).text).toBe('{"runs":6}');
    expect((await send("one", "x", odd)).text).toBe('{"runs":6}');
    expect((await send("two", "x", odd)).status).toBe(422);
    expect(bodies.slice(0, 4)).toEqual([{ a: 1, b: [2] }, "hello", { a: "1", b: "2" }, bytes]);
  });

  it("leaves res.locals untouched, and the 404 of an unknown route unkept", async () => {
    const { client, events } = await serve(({ app, layer }) => {
      app.use((_req, res, next) => {
        res.locals["user"] = "u";
        next();
      });
      app.use(layer());
      app.post("/", (_req, res) => void res.json(res.locals));
    }, express);
    expect((await client.send({ key: "k" })).text).toBe('{"user":"u"}');
    expect((await client.send({ key: "k", path: "/nowhere" })).status).toBe(404);
    expect(events.at(-1)?.type).toBe("released");
  });

  it("lets the present header of an outer layer win, and adds to its cookies", async () => {
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
    }, express);
    await client.send({ key: "k" });
    const replay = await client.send({ key: "k" });
    expect(replay.rawHeaders.filter((name) => name === "X-Request-Id")).toHaveLength(1);
    expect(replay.headers["x-request-id"]).toBe("r2");
    expect(replay.headers["cache-control"]).toBe("max-age=60");
    expect(replay.headers["set-cookie"]).toEqual(["sid=s2; Path=/", "order=1; Path=/"]);
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
    }, express);
    expect((await client.send({ key: "k" })).text).toBe('{"first":true}');
    expect(seen).toEqual([false, false, true, true, false]);
  });
  it("refuses a body without a canonical form with 400", async () => {
    const { client, storeCalls } = await serve(({ app, layer }) => {
      app.use((req, _res, next) => {
        req.body = { now: () => 1 };
        next();
      });
      app.post("/", layer(), (_req, res) => void res.json({}));
    }, express);
    expectProblem(await client.send({ key: "k" }), 400, "INVALID_FINGERPRINT", false);
    expect(storeCalls).toEqual({});
  });

  it("answers a nested request for the same record with 409", async () => {
    const { client } = await serve(({ app, layer }) => {
      app.post("/", layer({ operation: "same" }), layer({ operation: "same" }), (_req, res) => void res.json({}));
    }, express);
    const answer = await client.send({ key: "k" });
    expectProblem(answer, 409, "NESTED_EXECUTION", false);
  });
});
