import { describe, expect, it } from "vitest";
import { executionOf, idempotent } from "../../../adapters/http/fetch.ts";
import { eventually } from "./eventually.ts";
import { codeOf, handlers, piece, request, seen } from "./fetch-service.ts";
import { gate } from "./suite/gate.ts";

describe("a handler of the Fetch standard", () => {
  it("runs once for a key, and needs no server", async () => {
    const { wrap } = handlers();
    let runs = 0;
    const handler = wrap(() => Response.json({ order: ++runs }, { status: 201, headers: { Location: "/orders/1" } }));
    const first = await handler(request());
    const replay = await handler(request());
    expect([first.headers.get("location"), replay.headers.get("location")]).toEqual(["/orders/1", "/orders/1"]);
    expect(await seen(first)).toEqual([201, '{"order":1}', null]);
    expect(await seen(replay)).toEqual([201, '{"order":1}', "true"]);
    expect(await seen(await handler(request({ key: "other" })))).toEqual([201, '{"order":2}', null]);
  });

  it("is given the very request, its body unread, and everything else that it was called with", async () => {
    class FrameworkRequest extends Request {
      readonly geo = "here";
    }
    const { wrap } = handlers();
    const handler = wrap(async (given: FrameworkRequest, env: { TOKEN: string }, context: { params: string }) => {
      expect(given).toBe(sent);
      expect(given.bodyUsed).toBe(false);
      return Response.json([given.geo, env.TOKEN, context.params, await given.json()]);
    });
    const sent = new FrameworkRequest("http://shop.example/", {
      method: "POST",
      headers: { "Idempotency-Key": "k" },
      body: '{"a":1}',
    });
    const answer = await handler(sent, { TOKEN: "t" }, { params: "p" });
    expect(await answer.json()).toEqual(["here", "t", "p", { a: 1 }]);
  });

  it("finds its execution by its request, and none for a request that passed through", async () => {
    const { wrap, storeCalls } = handlers();
    const handler = wrap((given) => Response.json(executionOf(given)?.key ?? "none"));
    expect(await (await handler(request())).json()).toBe("k");
    expect(await (await handler(new Request("http://shop.example/", { method: "POST" }))).json()).toBe("none");
    expect(await (await handler(request({ method: "PUT" }))).json()).toBe("none");
    expect(storeCalls).toEqual({ claim: 1, complete: 1 });
  });

  it("refuses wrong options at once", () => {
    expect(() => idempotent(() => new Response(), {} as never)).toThrow(/store/);
  });

  it("goes by the path and the query, whatever the fragment and the host", async () => {
    const { wrap } = handlers();
    let runs = 0;
    const handler = wrap(() => Response.json(++runs));
    expect(await (await handler(request({ path: "/a?x=1" }))).json()).toBe(1);
    expect(await (await handler(request({ path: "/b?x=1" }))).json()).toBe(2);
    expect(await (await handler(request({ path: "/a?x=1#part" }))).json()).toBe(1);
    expect(await codeOf(await handler(request({ path: "/a?x=2" })))).toBe("FINGERPRINT_MISMATCH");
    const elsewhere = new Request("https://other.example/a?x=1", request());
    expect(await (await handler(elsewhere)).json()).toBe(1);
  });

  it.each(["k", '"k"'])("refuses two lines of the key %s, which come as one", async (key) => {
    const { wrap, storeCalls } = handlers();
    const sent = request({ key });
    sent.headers.append("Idempotency-Key", key);
    const answer = await wrap(() => new Response())(sent);
    expect([answer.status, await codeOf(answer), storeCalls]).toEqual([400, "KEY_INVALID", {}]);
  });

  it("lets whoever stands around it change the headers of every answer", async () => {
    const { wrap } = handlers();
    const handler = wrap(() => Response.json(1));
    for (const sent of [request(), request(), request({ key: "," })]) {
      const answer = await handler(sent);
      answer.headers.set("X-Outer", "1");
      expect(answer.headers.get("x-outer")).toBe("1");
    }
  });
});

describe("the body of a request", () => {
  it.each([
    ["used", (sent: Request): Promise<unknown> => sent.text()],
    ["locked", (sent: Request): unknown => sent.body?.getReader()],
  ] as const)("can't be compared once it is %s, unless a fingerprint is named", async (_what, spoil) => {
    const { wrap } = handlers();
    let runs = 0;
    const run = (): Response => Response.json(++runs);
    const answer = async (handler: (request: Request) => Promise<Response>, key: string): Promise<Response> => {
      const sent = request({ body: "x", key });
      await spoil(sent);
      return handler(sent);
    };
    const compared = await answer(wrap(run), "k");
    expect([compared.status, await codeOf(compared), runs]).toEqual([400, "INVALID_FINGERPRINT", 0]);
    const named = wrap(run, { fingerprint: () => "chosen" });
    expect(await seen(await answer(named, "k2"))).toEqual([200, "1", null]);
    expect(await seen(await answer(named, "k2"))).toEqual([200, "1", "true"]);
  });

  it("is refused over maxRequestBytes, announced or not, and no more of it is asked for", async () => {
    const { wrap, storeCalls } = handlers();
    const handler = wrap(() => expect.unreachable(), { maxRequestBytes: 1_000 });
    let pulls = 0;
    const large = (headers: Record<string, string>): Request => {
      const body = new ReadableStream(
        {
          pull(controller) {
            pulls += 1;
            controller.enqueue(new Uint8Array(400));
          },
        },
        { highWaterMark: 0 },
      );
      return request({ body, duplex: "half", headers });
    };
    const announced = await handler(large({ "Content-Length": "1001" }));
    expect([announced.status, await codeOf(announced), pulls]).toEqual([413, "REQUEST_TOO_LARGE", 0]);
    const answer = await handler(large({}));
    expect([answer.status, await codeOf(answer)]).toEqual([413, "REQUEST_TOO_LARGE"]);
    const asked = pulls;
    await new Promise(setImmediate);
    expect([pulls, asked < 8, storeCalls]).toEqual([asked, true, {}]);
  });

  it("that fails is the caller's to hear of, and nothing runs", async () => {
    const { wrap, storeCalls } = handlers();
    const reason = new Error("limit of the outer layer");
    const body = new ReadableStream({ pull: (controller) => controller.error(reason) });
    await expect(wrap(() => expect.unreachable())(request({ body, duplex: "half" }))).rejects.toBe(reason);
    expect(storeCalls).toEqual({});
  });
});

describe("what a handler throws", () => {
  it.each([
    ["an error", new Error("no luck")],
    ["no error", { no: "error" }],
  ])("reaches the caller as it is and frees the key: %s", async (_what, thrown) => {
    const { wrap, events } = handlers();
    let runs = 0;
    const handler = wrap(() => {
      runs += 1;
      if (runs === 1) throw thrown;
      return Response.json(runs);
    });
    await expect(handler(request())).rejects.toBe(thrown);
    expect(events.map(({ type }) => type)).toEqual(["claimed", "released"]);
    expect(await seen(await handler(request()))).toEqual([200, "2", null]);
  });

  it.each([
    ["nothing", (): unknown => undefined, /must return a Response/],
    ["an object", (): unknown => ({ status: 200 }), /must return a Response/],
    ["a Response that was read", (): unknown => spent((response) => response.text()), /used already/],
    ["a Response that somebody reads", (): unknown => spent((response) => response.body?.getReader()), /used already/],
  ] as const)("is a TypeError that frees the key where it returns %s", async (_what, answer, message) => {
    const { wrap, events } = handlers();
    const handler = wrap(async () => (await answer()) as Response);
    const failed = await handler(request()).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(TypeError);
    expect(String(failed)).toMatch(message);
    expect(events.map(({ type }) => type)).toEqual(["claimed", "released"]);
  });

  it("is a network error where it says so, which frees the key", async () => {
    const { wrap, events } = handlers();
    const answer = await wrap(() => Response.error())(request());
    expect(answer.type).toBe("error");
    expect(events.map(({ type }) => type)).toEqual(["claimed", "released"]);
  });
});

describe("a response", () => {
  it("is durable before it is returned", async () => {
    const { wrap, holdCompletions, storeCalls } = handlers();
    const letGo = holdCompletions();
    let returned = false;
    const answer = wrap(() => new Response("done"))(request()).then((response) => {
      returned = true;
      return response;
    });
    await eventually(() => storeCalls["complete"]).toBe(1);
    await new Promise(setImmediate);
    expect(returned).toBe(false);
    letGo();
    expect(await seen(await answer)).toEqual([200, "done", null]);
  });

  it("is the winner's where the attempt was overtaken", async () => {
    const { wrap, store } = handlers();
    const working = gate();
    const slow = wrap(
      async (given) => {
        if (executionOf(given)?.attempt === 1) await working.opened;
        return Response.json(executionOf(given)?.attempt);
      },
      // Nothing is renewed, as if the process had slept.
      { leaseMs: 50, store: { ...store, executions: withoutRenewal(store.executions) } },
    );
    const overtaken = slow(request());
    let winner: Response | undefined;
    await eventually(async () => {
      winner = await slow(request());
      return winner.status;
    }).toBe(200);
    working.open();
    expect([await winner?.json(), await (await overtaken).json()]).toEqual([2, 2]);
  });

  it.each([204, 205, 304])("of status %i has no body, the first time and again", async (status) => {
    const { wrap } = handlers();
    const handler = wrap(() => new Response(null, { status, headers: { ETag: '"v"' } }));
    for (const replayed of [null, "true"]) {
      const answer = await handler(request());
      expect([answer.status, answer.body, answer.headers.get("etag")]).toEqual([status, null, '"v"']);
      expect(answer.headers.get("idempotent-replayed")).toBe(replayed);
    }
  });

  it("to HEAD is the handler's own, and replays with the length that it named", async () => {
    const { wrap } = handlers();
    const handler = wrap(() => new Response(null, { headers: { "Content-Length": "12" } }), { methods: ["head"] });
    for (const replayed of [null, "true"]) {
      const answer = await handler(request({ method: "HEAD" }));
      expect([answer.body, answer.headers.get("content-length")]).toEqual([null, "12"]);
      expect(answer.headers.get("idempotent-replayed")).toBe(replayed);
    }
  });

  it("to HEAD is left unread where it has a body, for the server to drop", async () => {
    const { wrap } = handlers();
    const own = new Response("dropped");
    const handler = wrap(() => own, { methods: ["HEAD"] });
    expect(await handler(request({ method: "HEAD" }))).toBe(own);
    expect(own.bodyUsed).toBe(false);
    const replay = await handler(request({ method: "HEAD" }));
    expect([replay.body, replay.headers.get("content-type")]).toEqual([null, "text/plain;charset=UTF-8"]);
  });

  it("made of a form is sent again with the same boundary", async () => {
    const { wrap } = handlers();
    const form = new FormData();
    form.set("a", "1");
    form.set("file", new Blob(["text"], { type: "text/plain" }), "a.txt");
    const handler = wrap(() => new Response(form));
    const [first, again] = [await handler(request()), await handler(request())];
    expect(again.headers.get("content-type")).toBe(first.headers.get("content-type"));
    const parsed = await again.formData();
    expect([parsed.get("a"), await (parsed.get("file") as File).text()]).toEqual(["1", "text"]);
  });

  it("keeps its Set-Cookie lines apart", async () => {
    const { wrap } = handlers();
    const handler = wrap(
      () =>
        new Response("x", {
          headers: [
            ["Set-Cookie", "a=1"],
            ["Set-Cookie", "b=2, c"],
          ],
        }),
      { setCookie: "replay" },
    );
    for (let again = 0; again < 2; again += 1) {
      expect((await handler(request())).headers.getSetCookie()).toEqual(["a=1", "b=2, c"]);
    }
  });

  it("keeps its reason and its type", async () => {
    const { wrap } = handlers();
    const answer = await wrap(() => new Response("x", { status: 201, statusText: "Made" }))(request());
    expect([answer.statusText, answer.headers.get("content-type")]).toEqual(["Made", "text/plain;charset=UTF-8"]);
  });

  it.each([204, 205, 304])("of status %i is not completed with a body, which it can't have", async (status) => {
    const { wrap } = handlers();
    const handler = wrap(async (given) => {
      await executionOf(given)?.complete({ status, body: "stored" });
      return new Response("own");
    });
    await expect(handler(request())).rejects.toThrowError(/without a body/);
  });

  it("has a status that a Response can have: another one is a damaged record", async () => {
    const { wrap } = handlers();
    const handler = wrap(async (given) => {
      await executionOf(given)?.complete({ status: 700, body: "stored" });
      return new Response("own");
    });
    for (let again = 0; again < 2; again += 1) {
      const answer = await handler(request());
      expect([answer.status, await codeOf(answer)]).toEqual([500, "RECORD_CORRUPT"]);
    }
  });

  it("that was written past it, to the socket, is not replayed, and nothing runs again", async () => {
    const { wrap } = handlers();
    const handler = wrap(() => new Response(null, { headers: { "x-hono-already-sent": "true" } }));
    expect((await handler(request())).headers.get("x-hono-already-sent")).toBe("true");
    expect(await codeOf(await handler(request()))).toBe("RESULT_NOT_REPLAYABLE");
  });
});

describe("a client that leaves", () => {
  it("before anything ran gets the empty 499 that nobody sees, and frees the key", async () => {
    const { wrap, storeCalls } = handlers();
    let runs = 0;
    const handler = wrap(() => Response.json(++runs));
    const gone = await handler(request({ signal: AbortSignal.abort() }));
    expect([gone.status, gone.body, storeCalls]).toEqual([499, null, {}]);
    expect(await seen(await handler(request()))).toEqual([200, "1", null]);
  });

  it("while it waits for another's answer stops waiting", async () => {
    const { wrap, events } = handlers();
    const working = gate();
    const handler = wrap(
      async () => {
        await working.opened;
        return Response.json(1);
      },
      { inFlight: "wait" },
    );
    const first = handler(request());
    await eventually(() => events.map(({ type }) => type)).toEqual(["claimed"]);
    const leaving = new AbortController();
    const waiter = handler(request({ signal: leaving.signal }));
    await new Promise(setImmediate);
    leaving.abort();
    expect((await waiter).status).toBe(499);
    working.open();
    expect(await seen(await first)).toEqual([200, "1", null]);
  });

  it("in mid-handler changes nothing: the retry replays", async () => {
    const { wrap } = handlers();
    const started = gate();
    const working = gate();
    let runs = 0;
    const handler = wrap(async (given) => {
      runs += 1;
      started.open();
      await working.opened;
      return Response.json([runs, executionOf(given)?.signal.aborted]);
    });
    const leaving = new AbortController();
    const answer = handler(request({ signal: leaving.signal }));
    await started.opened;
    leaving.abort();
    working.open();
    expect(await (await answer).json()).toEqual([1, false]);
    expect(await seen(await handler(request()))).toEqual([200, "[1,false]", "true"]);
  });

  it("has its key freed a lease after abandonAfterMs, where the handler never answers", async () => {
    const { wrap } = handlers();
    let runs = 0;
    const handler = wrap(
      (given) => {
        runs += 1;
        return runs === 1 ? new Promise(() => {}) : Response.json(executionOf(given)?.attempt);
      },
      { leaseMs: 200, abandonAfterMs: 100 },
    );
    const leaving = new AbortController();
    void handler(request({ signal: leaving.signal }));
    await eventually(() => runs).toBe(1);
    leaving.abort();
    await eventually(async () => (await handler(request())).status).toBe(200);
    expect(await seen(await handler(request()))).toEqual([200, "2", "true"]);
  });
});

async function spent(use: (response: Response) => unknown): Promise<Response> {
  const response = new Response(piece("spent"));
  await use(response);
  return response;
}

function withoutRenewal<T extends object>(executions: T): T {
  return new Proxy(executions, {
    get: (target, name) => (name === "renew" ? () => new Promise(() => {}) : Reflect.get(target, name)),
  });
}
