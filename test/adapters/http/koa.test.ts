import { AsyncLocalStorage } from "node:async_hooks";
import { bodyParser } from "@koa/bodyparser";
import Router, { type RouterMiddleware } from "@koa/router";
import Koa, { type Context, type Middleware } from "koa";
import { describe, expect, expectTypeOf, it } from "vitest";
import { type ExecutionContext, type HttpOptions, idempotency } from "../../../adapters/http/koa.ts";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import { eventually } from "./eventually.ts";
import { problem } from "./http-client.ts";
import { KOAS, serve } from "./koa-service.ts";
import { expectProblem } from "./suite/expect-problem.ts";
import { gate } from "./suite/gate.ts";

describe.each(KOAS)("outer middleware on %s", (_name, KoaClass) => {
  it("is part of the answer that is kept, with what it makes of body, status and headers", async () => {
    const { client } = await serve(KoaClass, ({ app, layer }) => {
      app.use(async (ctx, next) => {
        await next();
        if (ctx.body === undefined) return;
        ctx.status = 202;
        ctx.set("X-Wrapped", "1");
        ctx.body = { wrapped: ctx.body };
      });
      app.use(layer());
      app.use((ctx) => {
        ctx.body = { own: 1 };
      });
    });
    const first = await client.send({ key: "k" });
    const replay = await client.send({ key: "k" });
    for (const answer of [first, replay]) {
      expect([answer.status, answer.text, answer.headers["x-wrapped"]]).toEqual([202, '{"wrapped":{"own":1}}', "1"]);
    }
    expect(replay.headers["idempotent-replayed"]).toBe("true");
  });

  it("finds the status of a replay or refusal and no body, and may do what it likes", async () => {
    const seen: unknown[] = [];
    const { client, port, errors } = await serve(KoaClass, ({ app, layer }) => {
      app.keys = ["secret"];
      app.use(async (ctx, next) => {
        await next();
        seen.push(ctx.status);
      });
      app.use(async (ctx, next) => {
        await next();
        if (ctx.body !== undefined) return;
        ctx.remove("Content-Type");
        ctx.res.setHeader("X-Raw", "1");
        ctx.cookies.set("sid", "s");
        ctx.status = 500;
        ctx.body = "another answer";
        ctx.respond = true;
      });
      app.use(layer());
      app.use((ctx) => {
        ctx.status = 201;
        ctx.body = { own: 1 };
      });
    });
    const first = await client.send({ key: "k" });
    const replay = await client.send({ key: "k" });
    expect([replay.status, replay.body]).toEqual([201, first.body]);
    expect(replay.headers["content-type"]).toBe(first.headers["content-type"]);
    expect([replay.headers["x-raw"], replay.headers["set-cookie"]]).toEqual(["1", ["sid=s; path=/; httponly"]]);
    const { statusText } = await fetch(`http://127.0.0.1:${port}`, {
      method: "POST",
      headers: { "Idempotency-Key": "k" },
    });
    expect(statusText).toBe("Created");
    expectProblem(await client.send({ key: "k", body: "other" }), 422, "FINGERPRINT_MISMATCH", false);
    expectProblem(await client.send({ key: "" }), 400, "KEY_INVALID", false);
    expect(seen).toEqual([201, 500, 500, 500, 500]);
    expect(errors).toEqual([]);
  });

  it("is told that an answer has ended which is still being kept", async () => {
    const seen: unknown[] = [];
    const { client } = await serve(KoaClass, ({ app, layer }) => {
      app.use(async (ctx, next) => {
        await next();
        seen.push(ctx.writable, ctx.headerSent);
      });
      app.use(layer());
      app.use((ctx) => {
        seen.push(ctx.writable, ctx.headerSent);
        ctx.res.statusCode = 200;
        ctx.res.end("done");
      });
    });
    expect((await client.send({ key: "k" })).text).toBe("done");
    expect(seen).toEqual([true, false, false, true]);
  });

  it("that asks whether Koa responds has a replay sent at once, and once", async () => {
    const { client, errors } = await serve(KoaClass, ({ app, layer }) => {
      app.use(async (ctx, next) => {
        await next();
        if (ctx.respond !== false) ctx.set("X-Late", "1");
      });
      app.use(layer());
      app.use((ctx) => {
        ctx.body = { own: 1 };
      });
    });
    const first = await client.send({ key: "k" });
    const replay = await client.send({ key: "k" });
    expect([replay.status, replay.body, replay.headers["x-late"]]).toEqual([200, first.body, "1"]);
    expect([replay.headers["idempotent-replayed"], errors]).toEqual(["true", []]);
  });

  it("sees the status that is going to be sent", async () => {
    const seen: unknown[] = [];
    const { client } = await serve(KoaClass, ({ app, layer }) => {
      app.use(async (ctx, next) => {
        await next();
        seen.push([ctx.status, ctx.message, ctx.body]);
      });
      app.use(layer());
      app.use((ctx) => {
        ctx.status = 201;
        ctx.body = "made";
      });
    });
    await client.send({ key: "k" });
    await client.send({ key: "k" });
    await client.send({ key: "k", body: "other" });
    expect(seen).toEqual([
      [201, "Created", "made"],
      [201, "Created", undefined],
      [422, "Unprocessable Entity", undefined],
    ]);
  });

  it("gives a replay its own headers and cookies of this time, once, and the handler's of that time", async () => {
    let requests = 0;
    const { client } = await serve(KoaClass, ({ app, layer }) => {
      app.use(async (ctx, next) => {
        requests += 1;
        await next();
        ctx.set({ "X-Response-Time": `${requests} ms`, "Content-Language": requests === 1 ? "de" : "en" });
        ctx.vary("Origin");
        ctx.cookies.set("sid", `s${requests}`);
      });
      app.use(layer({ setCookie: "replay" }));
      app.use((ctx) => {
        ctx.vary("Accept");
        ctx.cookies.set("order", "1");
        ctx.body = {};
      });
    });
    await client.send({ key: "k" });
    const { headers, rawHeaders } = await client.send({ key: "k" });
    expect(headers["x-response-time"]).toBe("2 ms");
    expect(rawHeaders.filter((name) => name.toLowerCase() === "x-response-time")).toHaveLength(1);
    expect(headers["set-cookie"]).toEqual(["sid=s2; path=/; httponly", "order=1; path=/; httponly"]);
    // These are about the body that is kept.
    expect([headers["content-language"], headers.vary]).toEqual(["de", "Accept, Origin"]);
  });

  it("may answer an error by itself, which frees the key under every record but all", async () => {
    let runs = 0;
    const { client, events, errors } = await serve(KoaClass, ({ app, layer }) => {
      app.use(async (ctx, next) => {
        try {
          await next();
        } catch (error) {
          ctx.body = { sorry: (error as Error).message };
        }
      });
      const withHeader =
        (value: string, middleware: Middleware): Middleware =>
        (ctx, next) =>
          ctx.get("x-record") === value ? middleware(ctx, next) : next();
      app.use(withHeader("success", layer()));
      app.use(withHeader("own", layer({ record: () => "store" })));
      app.use(withHeader("all", layer({ record: "all" })));
      app.use(() => {
        runs += 1;
        throw new Error(`run ${runs}`);
      });
    });
    const send = async (record: string) => {
      const { status, text } = await client.send({ key: record, headers: { "X-Record": record } });
      return [status, JSON.parse(text).sorry];
    };
    expect([await send("success"), await send("success")]).toEqual([
      [200, "run 1"],
      [200, "run 2"],
    ]);
    expect([await send("own"), await send("own")]).toEqual([
      [200, "run 3"],
      [200, "run 4"],
    ]);
    expect([await send("all"), await send("all")]).toEqual([
      [200, "run 5"],
      [200, "run 5"],
    ]);
    expect(events.filter(({ type }) => type === "released")).toHaveLength(4);
    expect(errors).toEqual([]);
  });

  it("that throws after the handler frees the key, with Koa's answer", async () => {
    let runs = 0;
    const thrown = Object.assign(new Error("outside"), { status: 404, expose: true });
    const { client, errors } = await serve(KoaClass, ({ app, layer }) => {
      app.use(async (_ctx, next) => {
        await next();
        if (runs === 1) throw thrown;
      });
      app.use(layer({ record: "deterministic" }));
      app.use((ctx) => {
        ctx.body = { runs: ++runs };
      });
    });
    const first = await client.send({ key: "k" });
    expect([first.status, first.text, errors]).toEqual([404, "outside", [thrown]]);
    expect((await client.send({ key: "k" })).text).toBe('{"runs":2}');
  });

  it("that throws on a replay is answered as it would be without the layer, and the record stays", async () => {
    let requests = 0;
    const { client, errors } = await serve(KoaClass, ({ app, layer }) => {
      app.use(async (_ctx, next) => {
        requests += 1;
        await next();
        if (requests === 2) throw new Error("outside");
      });
      app.use(layer());
      app.use((ctx) => {
        ctx.body = { own: requests };
      });
    });
    await client.send({ key: "k" });
    expect((await client.send({ key: "k" })).status).toBe(500);
    expect(errors).toHaveLength(1);
    expect((await client.send({ key: "k" })).text).toBe('{"own":1}');
  });
});

describe.each(KOAS)("the layer on %s", (_name, KoaClass) => {
  it("keeps routes with the same relative path apart, on routers with prefixes and nested ones", async () => {
    let runs = 0;
    const { client } = await serve(KoaClass, ({ app, layer }) => {
      const handler: RouterMiddleware = (ctx) => {
        ctx.body = { runs: ++runs };
      };
      const router = new Router();
      for (const prefix of ["/a", "/b"]) {
        const nested = new Router();
        nested.use(layer()).post("/orders", handler);
        router.use(prefix, nested.routes());
      }
      app.use(router.routes());
    });
    const send = async (path: string) => (await client.send({ path, key: "k" })).text;
    expect([await send("/a/orders"), await send("/b/orders"), await send("/a/orders")]).toEqual([
      '{"runs":1}',
      '{"runs":2}',
      '{"runs":1}',
    ]);
  });

  it("may stand twice on one request: the inner replays to the outer, and a nested claim of the same record is refused", async () => {
    let runs = 0;
    const { client, errors } = await serve(KoaClass, ({ app, layer }) => {
      const router = new Router();
      const handler: RouterMiddleware = (ctx) => {
        ctx.body = { runs: ++runs, operation: ctx.idempotency?.operation };
      };
      const layerOf = (options: Partial<HttpOptions<Context>>) => layer(options);
      router.post("/", layerOf({ header: "Outer-Key", operation: "outer" }), layerOf({ operation: "inner" }), handler);
      router.post("/same", layerOf({ operation: "same" }), layerOf({ operation: "same" }), handler);
      app.use(router.routes());
    });
    const send = (outer: string) => client.send({ key: "k", headers: { "Outer-Key": outer } });
    const first = await send("o1");
    expect(first.text).toBe('{"runs":1,"operation":"inner"}');
    const innerReplay = await send("o2");
    expect([innerReplay.body, innerReplay.headers["idempotent-replayed"]]).toEqual([first.body, "true"]);
    const outerReplay = await send("o2");
    expect([outerReplay.body, outerReplay.headers["idempotent-replayed"]]).toEqual([first.body, "true"]);
    expectProblem(await client.send({ path: "/same", key: "k" }), 409, "NESTED_EXECUTION", false);
    expect([runs, errors]).toEqual([1, []]);
  });

  it("replays HEAD with the length of the body that it leaves out, where its methods say so", async () => {
    let runs = 0;
    const { client } = await serve(KoaClass, ({ app, layer }) => {
      app.use(layer({ methods: ["HEAD"] }));
      app.use((ctx) => {
        runs += 1;
        ctx.body = { some: "body" };
      });
    });
    for (const mark of [undefined, "true"]) {
      const { status, text, headers } = await client.send({ method: "HEAD", key: "k" });
      expect([status, text, headers["content-length"], headers["idempotent-replayed"]]).toEqual([200, "", "15", mark]);
    }
    expect(runs).toBe(1);
  });

  it("leaves a request without a key as it is", async () => {
    const own: unknown[] = [];
    const { client, events } = await serve(KoaClass, ({ app, layer }) => {
      app.use(layer());
      app.use((ctx) => {
        own.push(ctx.idempotency, Object.hasOwn(ctx.response, "writable"), Object.hasOwn(ctx, "onerror"));
        ctx.body = "plain";
      });
    });
    expect((await client.send()).text).toBe("plain");
    expect([own, events]).toEqual([[undefined, false, false], []]);
  });

  it("does not keep the 404 of what no middleware answers", async () => {
    const { client, events } = await serve(KoaClass, ({ app, layer }) => {
      app.use(layer());
    });
    const answer = await client.send({ key: "k" });
    expect([answer.status, answer.text, events.at(-1)?.type]).toEqual([404, "Not Found", "released"]);
  });

  it("gives an error of its options' own functions to outer middleware and to Koa", async () => {
    const thrown = Object.assign(new Error("who?"), { status: 401, expose: true });
    const caught: unknown[] = [];
    const { client, errors } = await serve(KoaClass, ({ app, layer }) => {
      app.use(async (_ctx, next) => {
        try {
          await next();
        } catch (error) {
          caught.push(error);
          throw error;
        }
      });
      app.use(
        layer({
          scope: () => {
            throw thrown;
          },
        }),
      );
    });
    const answer = await client.send({ key: "k" });
    expect([answer.status, answer.text]).toEqual([401, "who?"]);
    expect(caught).toEqual([thrown]);
    expect(errors).toEqual([thrown]);
  });

  it("is not noticed by app.on('error'): it is called for what is thrown, with the context, and for nothing else", async () => {
    const calls: unknown[] = [];
    const { client } = await serve(KoaClass, ({ app, layer }) => {
      app.on("error", (error, ctx: Context) => calls.push([error.message, ctx.path]));
      app.use(layer());
      app.use((ctx) => {
        if (ctx.get("x-fail") !== "") throw new Error("once");
        ctx.body = {};
      });
    });
    await client.send({ key: "k", headers: { "X-Fail": "1" } });
    await client.send({ key: "k" });
    await client.send({ key: "k" });
    await client.send({ key: "k", body: "other" });
    expect(calls).toEqual([["once", "/"]]);
  });

  it("sends the response that was completed, not the one that the handler gives Koa afterwards", async () => {
    const { client } = await serve(KoaClass, ({ app, layer }) => {
      app.use(layer());
      app.use(async (ctx) => {
        await ctx.idempotency?.complete({ status: 202, headers: [["X-Own", "1"]], body: "committed" });
        ctx.set("X-Late", "1");
        ctx.body = "another";
      });
    });
    for (const mark of [undefined, "true"]) {
      const { status, text, headers } = await client.send({ key: "k" });
      expect([status, text, headers["x-own"], headers["x-late"]]).toEqual([202, "committed", "1", undefined]);
      expect(headers["idempotent-replayed"]).toBe(mark);
    }
  });

  it("lets outer middleware go on when the handler has, also when its answer is out before", async () => {
    const order: string[] = [];
    const answered = gate();
    const thrown = new Error("late");
    const { client, errors } = await serve(KoaClass, ({ app, layer }) => {
      app.use(async (_ctx, next) => {
        try {
          await next();
        } finally {
          order.push("outer");
        }
      });
      app.use(layer());
      app.use(async (ctx) => {
        await ctx.idempotency?.complete({ status: 200, headers: [], body: "committed" });
        ctx.respond = false;
        ctx.res.statusCode = 200;
        ctx.res.end("not this");
        await answered.opened;
        order.push("handler");
        throw thrown;
      });
    });
    expect((await client.send({ key: "k" })).text).toBe("committed");
    answered.open();
    await eventually(() => errors).toEqual([thrown]);
    expect(order).toEqual(["handler", "outer"]);
    expect((await client.send({ key: "k" })).text).toBe("committed");
  });

  it("keeps app.currentContext for the handler", async () => {
    const same: boolean[] = [];
    const { client } = await serve(KoaClass, ({ app, layer }) => {
      Object.assign(app, { ctxStorage: new AsyncLocalStorage() });
      app.use(layer());
      app.use((ctx) => {
        same.push(app.currentContext === ctx);
        ctx.body = {};
      });
    });
    await client.send({ key: "k", body: { a: 1 } });
    expect(same).toEqual([true]);
  });
});

describe.each(KOAS)("a body on %s", (_name, KoaClass) => {
  it("is compared as sent when @koa/bodyparser has read it", async () => {
    const { client } = await serve(KoaClass, ({ app, layer }) => {
      app.use(bodyParser({ enableTypes: ["json", "form", "text"] }));
      app.use(layer());
      app.use((ctx) => {
        ctx.body = { body: ctx.request.body };
      });
    });
    const json = { "Content-Type": "application/json" };
    const first = await client.send({ key: "json", body: '{"a":1,"b":2}', headers: json });
    expect(first.text).toBe('{"body":{"a":1,"b":2}}');
    const reordered = await client.send({ key: "json", body: '{ "b": 2, "a": 1 }', headers: json });
    expect(reordered.headers["idempotent-replayed"]).toBe("true");
    // Another number, which the parser can't tell from the first.
    const big = { key: "big", headers: json };
    await client.send({ ...big, body: '{"id":9007199254740993}' });
    expect((await client.send({ ...big, body: '{"id":9007199254740992}' })).status).toBe(422);
    const form = { key: "form", headers: { "Content-Type": "application/x-www-form-urlencoded" } };
    expect((await client.send({ ...form, body: "a=1" })).text).toBe('{"body":{"a":"1"}}');
    expect((await client.send({ ...form, body: "a=1" })).headers["idempotent-replayed"]).toBe("true");
    expect((await client.send({ ...form, body: "a=2" })).status).toBe(422);
  });

  it("reaches @koa/bodyparser and the handler when the layer has read it", async () => {
    const { client } = await serve(KoaClass, ({ app, layer }) => {
      app.use(layer());
      app.use(bodyParser());
      app.use((ctx) => {
        ctx.body = { body: ctx.request.body };
      });
    });
    expect((await client.send({ key: "k", body: { a: 1 } })).text).toBe('{"body":{"a":1}}');
    expect((await client.send({ key: "k", body: { a: 2 } })).status).toBe(422);
  });

  it("is compared with its files, as @koa/multer leaves them", async () => {
    const { client } = await serve(KoaClass, ({ app, layer }) => {
      app.use(async (ctx, next) => {
        for await (const _chunk of ctx.req);
        const content = Buffer.from(ctx.get("x-file"));
        const file = { fieldname: "f", originalname: "a", mimetype: "b", size: content.length, buffer: content };
        Object.assign(ctx.request, { body: { field: "1" }, files: [file] });
        await next();
      });
      app.use(layer());
      app.use((ctx) => {
        ctx.body = {};
      });
    });
    const send = (file: string) => client.send({ key: "k", body: "parts", headers: { "X-File": file } });
    expect((await send("one")).status).toBe(200);
    expect((await send("one")).headers["idempotent-replayed"]).toBe("true");
    expect((await send("two")).status).toBe(422);
  });

  it("that something has read without leaving anything of it is refused", async () => {
    const { client } = await serve(KoaClass, ({ app, layer }) => {
      app.use(async (ctx, next) => {
        for await (const _chunk of ctx.req);
        await next();
      });
      app.use(layer());
      app.use((ctx) => {
        ctx.body = {};
      });
    });
    const answer = await client.send({ key: "k", body: "gone" });
    expect([answer.status, problem(answer)["code"]]).toEqual([400, "INVALID_FINGERPRINT"]);
  });
});

describe("the types", () => {
  it("give the layer the context of its application, and every context its execution", () => {
    interface State {
      user: { id: string };
    }
    const store = memoryStore();
    const app = new Koa<State>();
    app.use(
      idempotency<State>({
        store,
        scope: (ctx) => {
          expectTypeOf(ctx.state.user.id).toEqualTypeOf<string>();
          expectTypeOf(ctx.path).toEqualTypeOf<string>();
          return ctx.state.user.id;
        },
      }),
    );
    app.use((ctx) => expectTypeOf(ctx.idempotency).toEqualTypeOf<ExecutionContext | undefined>());
    new Koa().use(idempotency({ store, scope: (ctx) => ctx.state["user"].id }));
    new Router().use(idempotency({ store, scope: (ctx) => ctx.state["user"].id }));
    new Router().post("/", idempotency({ store, scope: (ctx) => ctx.state["user"].id }), (ctx) => {
      expectTypeOf(ctx.idempotency).toEqualTypeOf<ExecutionContext | undefined>();
    });
  });
});
