import { describe, expect, it } from "vitest";
import { eventually } from "./eventually.ts";
import { EXPRESSES, serve } from "./express-service.ts";
import { endToEnd, problem } from "./http-client.ts";

/** Express shows stacks, which would differ. */
const noLuck = (): Error => Object.assign(new Error("no luck"), { stack: "Error: no luck" });

describe.each(EXPRESSES)("idempotency() on %s", (_name, express) => {
  it("runs a handler once and replays its status, headers and bytes", async () => {
    let runs = 0;
    const { client } = await serve(({ app, layer }) => {
      app.use(layer());
      app.post("/payments", express.json(), (req, res) => {
        runs += 1;
        res.status(201).location("/payments/1").set("X-Run", String(runs)).json({ runs, amount: req.body.amount });
      });
    }, express);
    const sending = { path: "/payments", key: "k", body: { amount: 5 } };
    const first = await client.send(sending);
    const second = await client.send(sending);
    expect(first.status).toBe(201);
    expect(first.text).toBe('{"runs":1,"amount":5}');
    expect(first.headers["idempotent-replayed"]).toBeUndefined();
    expect(first.headers.etag).toBeDefined();
    expect(second.status).toBe(201);
    expect(second.body).toEqual(first.body);
    expect(endToEnd(second)).toEqual(endToEnd(first));
    expect(second.headers["idempotent-replayed"]).toBe("true");
    expect(second.headers["content-length"]).toBe(first.headers["content-length"]);
    expect(runs).toBe(1);
  });

  it("leaves other methods and requests without a key alone, without any store call", async () => {
    let runs = 0;
    const { client, storeCalls } = await serve(({ app, layer }) => {
      app.use(layer());
      app.all("/", (req, res) => {
        runs += 1;
        res.json({ run: runs, context: req.idempotency === undefined });
      });
    }, express);
    for (const sending of [
      { method: "GET", key: "k" },
      { method: "PUT", key: "k" },
      { method: "DELETE", key: "k" },
      {},
    ]) {
      const answer = await client.send(sending);
      expect(answer.text).toBe(`{"run":${runs},"context":true}`);
    }
    expect(runs).toBe(4);
    expect(storeCalls).toEqual({});
  });

  it("takes two store calls for a first request, one for a replay, none for a refusal", async () => {
    const { client, storeCalls } = await serve(({ app, layer }) => {
      app.use(layer({ required: true }));
      app.post("/", (_req, res) => void res.json({}));
    }, express);
    await client.send({ key: "k" });
    expect(storeCalls).toEqual({ claim: 1, complete: 1 });
    await client.send({ key: "k" });
    expect(storeCalls).toEqual({ claim: 2, complete: 1 });
    expect((await client.send({})).status).toBe(400);
    expect((await client.send({ key: "" })).status).toBe(400);
    expect(storeCalls).toEqual({ claim: 2, complete: 1 });
  });

  it("answers 20 concurrent duplicates with one run and 19 times 409", async () => {
    let runs = 0;
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { client } = await serve(({ app, layer }) => {
      app.post("/", layer(), async (_req, res) => {
        runs += 1;
        await gate;
        res.json({ runs });
      });
    }, express);
    let refused = 0;
    const answers = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const answer = await client.send({ key: "k" });
        if (answer.status === 409) refused += 1;
        if (refused === 19) release();
        return answer;
      }),
    );
    expect(runs).toBe(1);
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1);
    for (const answer of answers.filter(({ status }) => status === 409)) {
      expect(answer.headers["content-type"]).toBe("application/problem+json");
      const seconds = Number(answer.headers["retry-after"]);
      expect(seconds).toBeGreaterThan(0);
      expect(seconds).toBeLessThanOrEqual(30);
      expect(problem(answer)).toMatchObject({
        type: "urn:evenkeel:problem:in-progress",
        title: "A request is outstanding for this Idempotency-Key",
        status: 409,
        code: "IN_PROGRESS",
        retryable: true,
      });
    }
  });

  it("gives 20 concurrent duplicates the same answer when they wait", async () => {
    let runs = 0;
    const { client, events } = await serve(({ app, layer }) => {
      app.post("/", layer({ inFlight: "wait" }), async (_req, res) => {
        runs += 1;
        await new Promise((resolve) => setTimeout(resolve, 50));
        res.status(202).json({ runs });
      });
    }, express);
    const answers = await Promise.all(Array.from({ length: 20 }, () => client.send({ key: "k" })));
    expect(runs).toBe(1);
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`))).toEqual(new Set(['202 {"runs":1}']));
    expect(events.filter(({ type }) => type === "replayed")).toHaveLength(19);
  });

  it("replays 1,000 retries that are sent on the tick the answer arrives", async () => {
    let runs = 0;
    const { client } = await serve(({ app, layer }) => {
      app.post("/", layer(), (_req, res) => {
        runs += 1;
        res.json({ runs });
      });
    }, express);
    for (let round = 0; round < 1_000; round += 1) {
      const key = `k${round}`;
      const retried = await new Promise<{ first: string; retry: string; mark: unknown }>((resolve, reject) => {
        const sent = client.open({ key, headers: { "Content-Length": "0" } }, (first) => {
          client
            .send({ key })
            .then((retry) =>
              resolve({ first: first.text, retry: retry.text, mark: retry.headers["idempotent-replayed"] }),
            )
            .catch(reject);
        });
        sent.on("error", reject);
        sent.end();
      });
      expect(retried).toEqual({ first: retried.first, retry: retried.first, mark: "true" });
    }
    expect(runs).toBe(1_000);
  });

  it.each([
    [
      "throws",
      () => {
        throw noLuck();
      },
    ],
    ["calls next with an error", (next: (error: unknown) => void) => next(noLuck())],
  ])("leaves Express's own error answer as it is when the handler %s, and frees the key", async (_how, fail) => {
    let runs = 0;
    const { client, events } = await serve(({ app, layer }) => {
      const handler = (_req: unknown, res: { json(body: unknown): void }, next: (error: unknown) => void): void => {
        runs += 1;
        if (runs <= 2) fail(next);
        else res.json({ runs });
      };
      app.post("/plain", handler as never);
      app.post("/layered", layer(), handler as never);
    }, express);
    const plain = await client.send({ path: "/plain" });
    const layered = await client.send({ path: "/layered", key: "k" });
    expect(layered.status).toBe(500);
    expect(endToEnd(layered)).toEqual(endToEnd(plain));
    expect(layered.text).toBe(plain.text);
    expect((await client.send({ path: "/layered", key: "k" })).text).toBe('{"runs":3}');
    expect(events.map(({ type }) => type)).toEqual(["claimed", "released", "claimed", "completed"]);
  });

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

  it("keeps keys of two tenants, two routers and two routes apart", async () => {
    let runs = 0;
    const { client } = await serve(({ app, layer }) => {
      app.use(layer({ scope: (req) => String(req.get("x-tenant")) }));
      for (const mount of ["/a", "/b"]) {
        const router = express.Router();
        router.post("/items", (_req, res) => {
          runs += 1;
          res.json({ runs });
        });
        app.use(mount, router);
      }
    }, express);
    const send = (path: string, tenant: string) => client.send({ path, key: "k", headers: { "X-Tenant": tenant } });
    expect((await send("/a/items", "t1")).text).toBe('{"runs":1}');
    expect((await send("/a/items", "t2")).text).toBe('{"runs":2}');
    expect((await send("/b/items", "t1")).text).toBe('{"runs":3}');
    expect((await send("/a/items", "t1")).text).toBe('{"runs":1}');
    expect((await send("/a/items", "t2")).text).toBe('{"runs":2}');
    expect((await send("/b/items", "t1")).text).toBe('{"runs":3}');
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

  it("refuses another payload with 422 also while the first still runs", async () => {
    let release = (): void => {};
    const { client } = await serve(({ app, layer }) => {
      app.post("/", layer(), (_req, res) => {
        release = () => res.json({ done: true });
        started();
      });
    }, express);
    let started = (): void => {};
    const running = new Promise<void>((resolve) => {
      started = resolve;
    });
    const first = client.send({ key: "k", body: { a: 1 } });
    await running;
    expect((await client.send({ key: "k", body: { a: 2 } })).status).toBe(422);
    expect((await client.send({ key: "k", body: { a: 1 } })).status).toBe(409);
    release();
    expect((await first).text).toBe('{"done":true}');
    expect((await client.send({ key: "k", body: { a: 1 } })).headers["idempotent-replayed"]).toBe("true");
  });

  it("goes on when the client hangs up in mid-handler, and replays to the retry", async () => {
    let runs = 0;
    let started = (): void => {};
    let finish = (): void => {};
    const running = new Promise<void>((resolve) => {
      started = resolve;
    });
    const { client, events } = await serve(({ app, layer }) => {
      app.post("/", layer(), (_req, res) => {
        runs += 1;
        finish = () => res.status(201).json({ runs });
        started();
      });
    }, express);
    const sent = client.open({ key: "k", headers: { "Content-Length": "0" } });
    sent.on("error", () => {});
    sent.end();
    await running;
    sent.destroy();
    await new Promise((resolve) => sent.once("close", resolve));
    finish();
    await eventually(() => events.map(({ type }) => type)).toEqual(["claimed", "completed"]);
    const retry = await client.send({ key: "k" });
    expect([retry.status, retry.text, retry.headers["idempotent-replayed"]]).toEqual([201, '{"runs":1}', "true"]);
    expect(runs).toBe(1);
  });

  it("gives the handler the execution's context", async () => {
    const derived: unknown[] = [];
    const { client } = await serve(({ app, layer }) => {
      app.post("/", layer({ operation: "pay", scope: () => "tenant" }), async (req, res) => {
        const ctx = req.idempotency;
        derived.push(ctx?.deriveKey("charge"));
        const step = await ctx?.step("one", () => new Map([["a", 1n]]));
        res.json({ op: ctx?.operation, scope: ctx?.scope, attempt: ctx?.attempt, step: [...(step?.keys() ?? [])] });
      });
    }, express);
    const answer = await client.send({ key: "k" });
    expect(JSON.parse(answer.text)).toEqual({ op: "pay", scope: "tenant", attempt: 1, step: ["a"] });
    expect(derived[0]).toMatch(/^[0-9a-f]{64}$/);
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
});
