import type { ErrorRequestHandler, RequestHandler } from "express";
import { describe, expect, it } from "vitest";
import { type Clock, systemClock } from "../../../src/clock.ts";
import { eventually } from "./eventually.ts";
import { EXPRESSES, type ExpressFactory, serve } from "./express-service.ts";
import { endToEnd, problem } from "./http-client.ts";

async function serveHandler(handler: RequestHandler, express: ExpressFactory, options: { clock?: Clock } = {}) {
  let runs = 0;
  const service = await serve(({ app, layer }) => {
    app.post("/plain", handler);
    app.post("/", layer(options), (req, res, next) => {
      runs += 1;
      return handler(req, res, next);
    });
  }, express);
  return { ...service, runs: () => runs };
}

describe.each(EXPRESSES)("an error after the answer on %s", (_name, express) => {
  it.each<[string, RequestHandler]>([
    [
      "a throw after res.json()",
      (_req, res) => {
        res.status(201).json({ whole: true });
        throw new Error("after");
      },
    ],
    [
      "next(err) after res.json()",
      (_req, res, next) => {
        res.status(201).json({ whole: true });
        next(new Error("after"));
      },
    ],
    [
      "a second answer",
      (_req, res) => {
        res.status(201).json({ whole: true });
        res.json({ second: true });
      },
    ],
    [
      "a throw after writes and res.end()",
      (_req, res) => {
        res.status(201).write('{"whole"');
        res.end(":true}");
        throw new Error("after");
      },
    ],
  ])(
    "leaves the answer to the client and to its retry, however long that takes to be durable: %s",
    async (_case, handler) => {
      const { client, store, runs } = await serveHandler(handler, express);
      const { complete } = store.executions;
      // Express closes the connection, early or late, as it does without the layer.
      const headers = { Connection: "close" };
      for (const [count, delayMs] of [0, 5, 50].entries()) {
        store.executions.complete = async (...args) => {
          if (delayMs > 0) await systemClock.sleep(delayMs);
          return complete.apply(store.executions, args);
        };
        const key = `k${count}`;
        const first = await client.send({ key, headers });
        const retry = await client.send({ key, headers });
        expect([first.status, first.text]).toEqual([201, '{"whole":true}']);
        expect([retry.status, retry.text, retry.headers["idempotent-replayed"]]).toEqual([
          201,
          '{"whole":true}',
          "true",
        ]);
        expect(runs()).toBe(count + 1);
      }
    },
  );

  it("still recognises a client that hangs up while the answer is held", async () => {
    let release = (): void => {};
    const { client, store, runs } = await serveHandler((_req, res) => {
      res.json({ whole: true });
      throw new Error("after");
    }, express);
    const { complete } = store.executions;
    let isHeld = false;
    store.executions.complete = async (...args) => {
      isHeld = true;
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      return complete.apply(store.executions, args);
    };
    const sent = client.open({ key: "k", headers: { "Content-Length": "0" } });
    sent.on("error", () => {});
    sent.end();
    await eventually(() => isHeld).toBe(true);
    sent.destroy();
    release();
    await eventually(async () => (await client.send({ key: "k" })).text).toBe('{"whole":true}');
    expect(runs()).toBe(1);
  });
});

describe.each(EXPRESSES)("an error in the middle of the answer on %s", (_name, express) => {
  it.each<[string, RequestHandler]>([
    [
      "a throw",
      (_req, res) => {
        res.write("part");
        throw new Error("mid");
      },
    ],
    [
      "next(err)",
      async (_req, res, next) => {
        res.write("part");
        await new Promise((resolve) => setTimeout(resolve, 20));
        next(new Error("mid"));
      },
    ],
    [
      "res.destroy(err)",
      async (_req, res) => {
        res.write("part");
        await new Promise((resolve) => setTimeout(resolve, 20));
        res.destroy(new Error("mid"));
      },
    ],
  ])("is settled at once as a tombstone, with no timer left: %s", async (_case, handler) => {
    const timers = new Set<object>();
    const clock: Clock = {
      ...systemClock,
      setTimer(ms, fire, options) {
        const timer = systemClock.setTimer(
          ms,
          () => {
            timers.delete(handle);
            fire();
          },
          options,
        );
        const handle = {
          clear() {
            timers.delete(handle);
            timer.clear();
          },
        };
        timers.add(handle);
        return handle;
      },
    };
    const { client, events, runs } = await serveHandler(handler, express, { clock });
    const startedAt = performance.now();
    await expect(client.send({ key: "k" })).rejects.toThrow();
    await eventually(() => events.map(({ type }) => type)).toEqual(["claimed", "tombstoned", "completed"]);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    await eventually(() => timers.size).toBe(0);
    const retry = await client.send({ key: "k" });
    expect([retry.status, problem(retry)["code"], runs()]).toEqual([409, "RESULT_NOT_REPLAYABLE", 1]);
  });

  it("is settled at once also when the client had left before", async () => {
    let isGone = false;
    let begun = false;
    let fail = (): void => {};
    const { client, events } = await serveHandler((req, res, next) => {
      res.write("part");
      begun = true;
      req.socket.once("close", () => {
        isGone = true;
      });
      fail = () => next(new Error("mid"));
    }, express);
    const sent = client.open({ key: "k", headers: { "Content-Length": "0" } });
    sent.on("error", () => {});
    sent.end();
    await eventually(() => begun).toBe(true);
    sent.destroy();
    await eventually(() => isGone).toBe(true);
    fail();
    await eventually(() => events.map(({ type }) => type)).toEqual(["claimed", "tombstoned", "completed"]);
  });
});

describe.each(EXPRESSES)("an answer that Node refuses on %s", (_name, express) => {
  it.each<[string, RequestHandler]>([
    [
      "a status message with a line break",
      (_req, res) => {
        res.statusMessage = "bad\nmessage";
        res.json(1);
      },
    ],
    ["a trailer without chunks", (_req, res) => void res.set("Trailer", "x").json(1)],
  ])("fails in the handler as without the layer, and is not kept: %s", async (_case, handler) => {
    const { app, client, runs } = await serveHandler(handler, express);
    app.use(((error: { code: string }, _req: unknown, res: Parameters<RequestHandler>[1], _next: unknown) => {
      res.statusMessage = "";
      res.removeHeader("Trailer");
      res.status(500).json({ code: error.code });
    }) as never);
    const plain = await client.send({ path: "/plain" });
    expect(plain.status).toBe(500);
    for (const run of [1, 2]) {
      const { status, text } = await client.send({ key: "k" });
      expect([status, text, runs()]).toEqual([500, plain.text, run]);
    }
  });

  it.each<[string, RequestHandler]>([
    ["longer", (_req, res) => void res.set("Content-Length", "3").end("too long")],
    [
      "longer in pieces",
      (_req, res) => {
        res.set("Content-Length", "3").write("too");
        res.end(" long");
      },
    ],
    [
      "other than announced, strictly",
      (_req, res) => {
        res.strictContentLength = true;
        res.set("Content-Length", "3").end("too long");
      },
    ],
  ])("is never made to look right by its replay: a body %s", async (_case, handler) => {
    const { client, runs } = await serveHandler(handler, express);
    await client.send({ key: "k" }).catch(() => {});
    const retry = await client.send({ key: "k" });
    expect([retry.status, problem(retry)["code"], runs()]).toEqual([409, "RESULT_NOT_REPLAYABLE", 1]);
  });
});

describe.each(EXPRESSES)("a header of an outer layer on %s", (_name, express) => {
  it("that the handler took away is not in the replay either", async () => {
    const { client } = await serve(({ app, layer }) => {
      app.use((_req, res, next) => {
        res.set({ "X-Outer": "a", "X-Kept": "b" });
        next();
      });
      app.post("/", layer(), (_req, res) => {
        res.removeHeader("X-Outer");
        res.removeHeader("X-Powered-By");
        res.json({});
      });
    }, express);
    const first = await client.send({ key: "k" });
    const retry = await client.send({ key: "k" });
    expect(retry.headers["idempotent-replayed"]).toBe("true");
    expect(endToEnd(retry)).toEqual(endToEnd(first));
    expect([retry.headers["x-outer"], retry.headers["x-powered-by"], retry.headers["x-kept"]]).toEqual([
      undefined,
      undefined,
      "b",
    ]);
  });
});

describe.each(EXPRESSES)("what is set after the answer on %s", (_name, express) => {
  it.each<[string, RequestHandler]>([
    [
      "a status by an error handler",
      (_req, res) => {
        res.status(201).json({ paid: true });
        throw new Error("the audit log failed");
      },
    ],
    [
      "a status at once",
      (_req, res) => {
        res.status(201).json({ paid: true });
        res.status(500);
      },
    ],
    [
      "a status without a body a moment later",
      async (_req, res) => {
        res.status(201).json({ paid: true });
        await null;
        res.status(204);
      },
    ],
    [
      "a status between the head and the end",
      async (_req, res) => {
        res.writeHead(201, { "Content-Type": "application/json" });
        await null;
        res.statusCode = 500;
        res.end('{"paid":true}');
      },
    ],
    [
      "a reason that can't be sent",
      async (_req, res) => {
        res.status(201).json({ paid: true });
        await null;
        res.statusMessage = "evil\nreason";
      },
    ],
  ])("changes neither the first answer nor the replay: %s", async (_what, handler) => {
    const { client } = await serve(({ app, layer }) => {
      app.post("/", layer(), handler);
      app.use(((error, _req, res, next) => {
        res.status(500);
        next(error);
      }) as ErrorRequestHandler);
    }, express);
    for (const mark of [undefined, "true"]) {
      // Express may close the connection once the answer is out.
      const answer = await client.send({ key: "k", headers: { Connection: "close" } });
      expect([answer.status, answer.text, answer.headers["idempotent-replayed"]]).toEqual([201, '{"paid":true}', mark]);
    }
  });
});

describe.each(EXPRESSES)("middleware between the layer and the handler on %s", (_name, express) => {
  it("that wraps writeHead is called once for an answer, and not for a replay", async () => {
    let calls = 0;
    const { client } = await serve(({ app, layer }) => {
      app.use(layer({ setCookie: "replay" }));
      app.use((_req, res, next) => {
        const { writeHead } = res;
        res.writeHead = (...args: unknown[]) => {
          calls += 1;
          res.appendHeader("X-Inner", `i${calls}`);
          return Reflect.apply(writeHead, res, args);
        };
        next();
      });
      app.post("/json", (_req, res) => void res.json({}));
      app.post("/pieces", (_req, res) => {
        res.write("one ");
        res.end("two");
      });
    }, express);
    for (const [index, path] of ["/json", "/pieces"].entries()) {
      const answers = [await client.send({ path, key: "k" }), await client.send({ path, key: "k" })];
      expect(answers.map(({ headers }) => headers["x-inner"])).toEqual([`i${index + 1}`, `i${index + 1}`]);
      expect(calls).toBe(index + 1);
    }
  });

  it("that asks for the head before it ends the answer, as session stores do, finds it decided", async () => {
    const { client } = await serve(({ app, layer }) => {
      app.use(layer());
      app.use((_req, res, next) => {
        const { end } = res;
        res.end = ((...args: unknown[]) => {
          // What express-session and compression do.
          const raw = res as unknown as { _header: unknown; _implicitHeader(): void };
          if (!raw._header) raw._implicitHeader();
          return Reflect.apply(end, res, args);
        }) as typeof end;
        next();
      });
      app.post("/", (_req, res) => {
        setTimeout(() => {
          res.writeHead(201, { "X-Own": "1" });
          res.end("x");
        }, 5);
      });
    }, express);
    for (const mark of [undefined, "true"]) {
      const answer = await client.send({ key: "k" });
      expect([answer.status, answer.text, answer.headers["x-own"]]).toEqual([201, "x", "1"]);
      expect(answer.headers["idempotent-replayed"]).toBe(mark);
    }
  });
});
