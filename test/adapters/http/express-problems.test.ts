import express, { type Request } from "express";
import { describe, expect, it } from "vitest";
import { type HttpOptions, idempotency } from "../../../adapters/http/express.ts";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import { EvenkeelError } from "../../../src/errors.ts";
import { eventually } from "./eventually.ts";
import { serve } from "./express-service.ts";
import { type Answer, problem } from "./http-client.ts";

const SECRET = "very-secret-key";

function expectProblem(answer: Answer, status: number, code: string, retryable: boolean): void {
  expect(answer.status).toBe(status);
  expect(answer.headers["content-type"]).toBe("application/problem+json");
  const document = problem(answer);
  expect(document).toMatchObject({ status, code, retryable });
  expect(document["type"]).toBe(`urn:evenkeel:problem:${code.toLowerCase().replaceAll("_", "-")}`);
  expect(typeof document["title"]).toBe("string");
  expect(typeof document["detail"]).toBe("string");
}

describe("the layer's own answers", () => {
  it("refuses a missing key with 400 where it is required", async () => {
    const { client, storeCalls } = await serve(({ app, layer }) => {
      app.post("/", layer({ required: true }), (_req, res) => void res.json({}));
    });
    const answer = await client.send();
    expectProblem(answer, 400, "KEY_MISSING", false);
    expect(problem(answer)["title"]).toBe("Idempotency-Key is missing");
    expect(storeCalls).toEqual({});
  });

  it.each([
    ["an empty key", ""],
    ["a blank string", '"   "'],
    ["an empty string", '""'],
    ["an open string", '"k'],
    ["a string with something behind it", '"k" x'],
    ["two keys in one line", '"a", "b"'],
    ["a bare key with a comma", "a,b"],
    ["a bare key with a blank", "a b"],
    ["a bare key with a quote", 'a"b'],
    ["a bare key with a parameter", "a;b=1"],
    ["256 characters", "k".repeat(256)],
    ["256 characters in a string", `"${"k".repeat(256)}"`],
    ["a non-ASCII key", "sch\u00f6n"],
    ["two header lines", ["a", "b"]],
    ["two header lines of the same key", ["a", "a"]],
  ])("refuses %s with 400 before any store call", async (_what, key) => {
    let runs = 0;
    const { client, storeCalls } = await serve(({ app, layer }) => {
      app.post("/", layer(), (_req, res) => {
        runs += 1;
        res.json({});
      });
    });
    const answer = await client.send({ key });
    expectProblem(answer, 400, "KEY_INVALID", false);
    expect(storeCalls).toEqual({});
    expect(runs).toBe(0);
  });

  it("takes X-Idempotency-Key where Idempotency-Key is not there, and other headers when told to", async () => {
    let runs = 0;
    const { client } = await serve(({ app, layer }) => {
      app.post("/", layer(), (_req, res) => void res.json(++runs));
      app.post("/own", layer({ header: "Request-Id", strictKey: true }), (_req, res) => void res.json(++runs));
    });
    const send = async (headers: Record<string, string>, path = "/") => (await client.send({ path, headers })).text;
    expect(await send({ "Idempotency-Key": "k" })).toBe("1");
    expect(await send({ "X-Idempotency-Key": '"k"; a=1' })).toBe("1");
    expect(await send({ "Idempotency-Key": '"k"', "X-Idempotency-Key": "other" })).toBe("1");
    expect(await send({ "Request-Id": '"k"' }, "/own")).toBe("2");
    expect(await send({ "Request-Id": '"k"' }, "/own")).toBe("2");
    expect((await client.send({ path: "/own", headers: { "Request-Id": "k" } })).status).toBe(400);
  });

  it("answers 503 with Retry-After within storeTimeoutMs when the store hangs, and runs nothing", async () => {
    let runs = 0;
    const { client, store } = await serve(({ app, layer }) => {
      app.post("/", layer({ storeTimeoutMs: 200 }), (_req, res) => void res.json(++runs));
    });
    store.executions.claim = () => new Promise(() => {});
    const before = performance.now();
    const answer = await client.send({ key: SECRET });
    expect(performance.now() - before).toBeLessThan(1_500);
    expectProblem(answer, 503, "STORE_UNAVAILABLE", true);
    expect(answer.headers["retry-after"]).toBe("1");
    expect(runs).toBe(0);
  });

  it("serves without protection when told to, and says so in an event", async () => {
    const { client, store, events } = await serve(({ app, layer }) => {
      app.post("/", layer({ storeTimeoutMs: 100, onStoreError: "open" }), (req, res) => {
        res.status(500).json({ attempt: req.idempotency?.attempt });
      });
    });
    store.executions.claim = () => new Promise(() => {});
    const answer = await client.send({ key: "k" });
    expect([answer.status, answer.text]).toEqual([500, '{"attempt":1}']);
    expect(events).toMatchObject([{ type: "store_error", ranUnprotected: true }]);
  });

  it("gives the answer when it can't be made durable, unless told to refuse", async () => {
    const { client, store } = await serve(({ app, layer }) => {
      const bounds = { storeTimeoutMs: 100, leaseMs: 1_000 };
      app.post("/return", layer(bounds), (_req, res) => void res.status(201).json({}));
      app.post("/throw", layer({ ...bounds, onCompleteFailure: "throw" }), (_req, res) => {
        res.status(201).set("X-Own", "1").json({});
      });
    });
    store.executions.complete = async () => {
      throw new Error("disk full");
    };
    expect((await client.send({ path: "/return", key: "k" })).status).toBe(201);
    const refused = await client.send({ path: "/throw", key: "k" });
    expectProblem(refused, 503, "STORE_UNAVAILABLE", true);
    expect(refused.headers["x-own"]).toBeUndefined();
    expect(refused.text).not.toContain("disk full");
  });

  it("refuses an abandoned execution with 409, or asks the resolver for the response", async () => {
    let runs = 0;
    const { client } = await serve(({ app, layer }) => {
      const never = (): void => {
        runs += 1;
      };
      const lease = { leaseMs: 60, abandonAfterMs: 10 };
      app.post("/reject", layer({ ...lease, onAbandoned: "reject" }), never);
      app.post(
        "/resolve",
        layer({ ...lease, onAbandoned: () => ({ completed: { status: 202, body: { known: true } } }) }),
        never,
      );
    });
    for (const path of ["/reject", "/resolve"]) {
      const sent = client.open({ path, key: "k", headers: { "Content-Length": "0" } });
      sent.on("error", () => {});
      sent.end();
      await eventually(() => runs).toBe(path === "/reject" ? 1 : 2);
      sent.destroy();
      await eventually(async () => problemCode(await client.send({ path, key: "k" }))).not.toBe("IN_PROGRESS");
    }
    const rejected = await client.send({ path: "/reject", key: "k" });
    expectProblem(rejected, 409, "ABANDONED", false);
    const resolved = await client.send({ path: "/resolve", key: "k" });
    expect([resolved.status, resolved.text, resolved.headers["idempotent-replayed"]]).toEqual([
      202,
      '{"known":true}',
      "true",
    ]);
    expect(runs).toBe(2);
  });

  it("refuses a body without a canonical form with 400", async () => {
    const { client, storeCalls } = await serve(({ app, layer }) => {
      app.use((req, _res, next) => {
        req.body = { now: () => 1 };
        next();
      });
      app.post("/", layer(), (_req, res) => void res.json({}));
    });
    expectProblem(await client.send({ key: "k" }), 400, "INVALID_FINGERPRINT", false);
    expect(storeCalls).toEqual({});
  });

  it("refuses a request body over maxRequestBytes with 413, announced or not", async () => {
    let runs = 0;
    const { client, storeCalls } = await serve(({ app, layer }) => {
      app.post("/", layer({ maxRequestBytes: 1_000 }), express.text(), (_req, res) => void res.json(++runs));
    });
    const text = { "Content-Type": "text/plain" };
    expectProblem(
      await client.send({ key: "k", body: "x".repeat(300_000), headers: text }),
      413,
      "REQUEST_TOO_LARGE",
      false,
    );
    const chunked = await new Promise<Answer>((resolve, reject) => {
      const sent = client.open({ key: "k", headers: { ...text, "Transfer-Encoding": "chunked" } }, resolve);
      sent.on("error", reject);
      for (let piece = 0; piece < 300; piece += 1) sent.write("x".repeat(1_000));
      sent.end();
    });
    expectProblem(chunked, 413, "REQUEST_TOO_LARGE", false);
    expect([runs, storeCalls]).toEqual([0, {}]);
    expect((await client.send({ key: "k", body: "x".repeat(1_000), headers: text })).text).toBe("1");
  });

  it("takes a scope that is no string for the server's fault, and gives one that throws to Express", async () => {
    let runs = 0;
    const { client, storeCalls } = await serve(({ app, layer }) => {
      const run = (_req: unknown, res: { json(body: unknown): unknown }): void => void res.json(++runs);
      app.post("/none", layer({ scope: () => undefined as never }), run);
      app.post("/throws", layer({ scope: (req) => (req as never as { user: { id: string } }).user.id }), run);
      app.post(
        "/refuses",
        layer({
          scope: () => {
            throw Object.assign(new Error("who?"), { status: 401 });
          },
        }),
        run,
      );
      app.post(
        "/evenkeel",
        layer({
          scope: () => {
            throw new EvenkeelError("IN_PROGRESS", "not ours");
          },
        }),
        run,
      );
    });
    expectProblem(await client.send({ path: "/none", key: "k" }), 500, "INVALID_OPTIONS", false);
    expect((await client.send({ path: "/throws", key: "k" })).status).toBe(500);
    expect((await client.send({ path: "/refuses", key: "k" })).status).toBe(401);
    expect((await client.send({ path: "/evenkeel", key: "k" })).status).toBe(500);
    expect([runs, storeCalls]).toEqual([0, {}]);
  });

  it("lets onProblem replace a document, but never turn a refusal into a run", async () => {
    let runs = 0;
    const { client } = await serve(({ app, layer }) => {
      const run = (_req: unknown, res: { json(body: unknown): unknown }): void => void res.json(++runs);
      app.post(
        "/own",
        layer({ required: true, onProblem: (found, req) => ({ ...found, status: 428, path: req.path }) }),
        run,
      );
      app.post("/ok", layer({ required: true, onProblem: (found) => ({ ...found, status: 200 }) }), run);
      app.post(
        "/throws",
        layer({
          required: true,
          onProblem: () => {
            throw new Error("no");
          },
        }),
        run,
      );
      app.post("/none", layer({ required: true, onProblem: () => undefined }), run);
    });
    const own = await client.send({ path: "/own" });
    expect([own.status, problem(own)["path"], problem(own)["code"]]).toEqual([428, "/own", "KEY_MISSING"]);
    for (const path of ["/ok", "/throws", "/none"]) expect((await client.send({ path })).status).toBe(400);
    expect(runs).toBe(0);
  });

  it("shows no key and nothing of what is stored in problems and events", async () => {
    const { client, events } = await serve(({ app, layer }) => {
      app.post("/", layer({ maxBodyBytes: 10, required: true }), express.json(), (_req, res) => {
        res.send("stored-secret".repeat(10));
      });
    });
    const bodies = [
      await client.send({ key: SECRET, body: { pin: "sent-secret" } }),
      await client.send({ key: SECRET, body: { pin: "sent-secret" } }),
      await client.send({ key: SECRET, body: { pin: "other-secret" } }),
      await client.send({ key: `${SECRET},` }),
    ].slice(1);
    expect(bodies.map(({ status }) => status)).toEqual([409, 422, 400]);
    const said = JSON.stringify([bodies.map(({ text }) => text), events]);
    expect(said).not.toMatch(/secret/);
  });

  it("answers a nested request for the same record with 409", async () => {
    const { client } = await serve(({ app, layer }) => {
      app.post("/", layer({ operation: "same" }), layer({ operation: "same" }), (_req, res) => void res.json({}));
    });
    const answer = await client.send({ key: "k" });
    expectProblem(answer, 409, "NESTED_EXECUTION", false);
  });
});

describe("the options", () => {
  const good: HttpOptions<Request> = { store: memoryStore(), scope: () => "" };

  it.each([
    ["store", { store: undefined }],
    ["store", { store: {} }],
    ["scope", { scope: undefined }],
    ["scope", { scope: "tenant" }],
    ["operation", { operation: "" }],
    ["required", { required: 1 }],
    ["methods", { methods: [] }],
    ["methods", { methods: ["PO ST"] }],
    ["header", { header: "a b" }],
    ["header", { header: [] }],
    ["strictKey", { strictKey: "yes" }],
    ["fingerprint", { fingerprint: true }],
    ["record", { record: "some" }],
    ["replayHeader", { replayHeader: "" }],
    ["excludeHeaders", { excludeHeaders: "x" }],
    ["setCookie", { setCookie: true }],
    ["maxBodyBytes", { maxBodyBytes: 0 }],
    ["maxRequestBytes", { maxRequestBytes: -1 }],
    ["abandonAfterMs", { abandonAfterMs: "5s" }],
    ["onProblem", { onProblem: {} }],
    ["leaseMs", { leaseMs: Number.NaN }],
    ["onAbandoned", { onAbandoned: "retry" }],
    ["onError", { onError: "store" }],
    ["maxResultBytes", { maxResultBytes: 5 }],
    ["nonsense", { nonsense: 1 }],
  ])("name %s when it is wrong", (name, wrong) => {
    expect(() => idempotency({ ...good, ...wrong } as never)).toThrowError(
      expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining(name) }),
    );
  });

  it("have to be an object", () => {
    expect(() => idempotency(undefined as never)).toThrowError(expect.objectContaining({ code: "INVALID_OPTIONS" }));
  });

  it("bind a fixed operation to its method and path, and compare what they are told to", async () => {
    let runs = 0;
    const { client } = await serve(({ app, layer }) => {
      app.use(express.json());
      const run = (_req: unknown, res: { json(body: unknown): unknown }): void => void res.json(++runs);
      app.post(["/a", "/b"], layer({ operation: "pay" }), run);
      app.post("/c", layer({ operation: (req) => `pay ${req.get("x-kind")}` }), run);
      app.post("/d", layer({ fingerprint: (req) => req.body.amount }), run);
      app.post("/e", layer({ fingerprint: false }), run);
    });
    expect((await client.send({ path: "/a", key: "k" })).text).toBe("1");
    expect((await client.send({ path: "/b", key: "k" })).status).toBe(422);
    expect((await client.send({ path: "/c", key: "k", headers: { "X-Kind": "x" } })).text).toBe("2");
    expect((await client.send({ path: "/c", key: "k", headers: { "X-Kind": "y" } })).text).toBe("3");
    expect((await client.send({ path: "/d", key: "k", body: { amount: 1, at: 1 } })).text).toBe("4");
    expect((await client.send({ path: "/d", key: "k", body: { amount: 1, at: 2 } })).text).toBe("4");
    expect((await client.send({ path: "/d", key: "k", body: { amount: 2, at: 2 } })).status).toBe(422);
    expect((await client.send({ path: "/e", key: "k", body: [1] })).text).toBe(
      (await client.send({ path: "/e", key: "k" })).text,
    );
  });
});

function problemCode(answer: Answer): unknown {
  return answer.status >= 400 ? problem(answer)["code"] : undefined;
}
