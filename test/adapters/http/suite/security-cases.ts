import { expect, it } from "vitest";
import { EvenkeelError } from "../../../../src/errors.ts";
import { outcomeCodec } from "../../../../src/idempotency/outcome.ts";
import type { StoredOutcome } from "../../../../src/store.ts";
import { problem } from "../http-client.ts";
import { expectProblem } from "./expect-problem.ts";
import type { Service, Suite } from "./http-suite.ts";

const SECRET = "key-of-a-secret";

/** Rules 12 and 14, and the cases on HTTP of the list of security cases. */
export function securityCases({ serve }: Suite): void {
  it("gives no replay to a caller whose right was revoked, nor to another tenant", async () => {
    let runs = 0;
    const revoked = new Set<string>();
    const { client, storeCalls } = await serve({
      before: (header) => (revoked.has(header("x-tenant") ?? "") ? { refuse: 403 } : {}),
      routes: [{ path: "/", handler: () => ({ json: { secret: ++runs } }) }],
    });
    const asking = (tenant: string) => client.send({ key: "k", headers: { "X-Tenant": tenant } });
    expect((await asking("a")).text).toBe('{"secret":1}');
    expect((await asking("b")).text).toBe('{"secret":2}');
    revoked.add("a");
    const before = { ...storeCalls };
    const refused = await asking("a");
    expect([refused.status, refused.text.includes("secret"), storeCalls]).toEqual([403, false, before]);
    expect((await asking("b")).headers["idempotent-replayed"]).toBe("true");
  });

  it("takes a scope that is no string for the server's fault, and gives one that throws to the framework", async () => {
    let runs = 0;
    const handler = () => ({ json: ++runs });
    const throwing = (error: unknown) => () => {
      throw error;
    };
    const { client, storeCalls, errors } = await serve({
      routes: [
        { path: "/none", layer: { scope: () => undefined as never }, handler },
        { path: "/number", layer: { scope: () => 1 as never }, handler },
        { path: "/surrogate", layer: { scope: () => "\ud800" }, handler },
        { path: "/refuses", layer: { scope: throwing(Object.assign(new Error("who?"), { status: 401 })) }, handler },
        { path: "/rejects", layer: { scope: () => Promise.reject(new TypeError("no user")) }, handler },
        { path: "/evenkeel", layer: { scope: throwing(new EvenkeelError("IN_PROGRESS", "not ours")) }, handler },
      ],
    });
    for (const path of ["/none", "/number", "/surrogate"]) {
      expectProblem(await client.send({ path, key: "k" }), 500, "INVALID_OPTIONS", false);
    }
    expect(errors).toEqual([]);
    for (const path of ["/refuses", "/rejects", "/evenkeel"]) {
      const answer = await client.send({ path, key: "k" });
      expect([answer.status, errors.length]).toEqual([answer.status < 500 ? 401 : 500, 1]);
      errors.length = 0;
    }
    expect([runs, storeCalls]).toEqual([0, {}]);
  });

  it("shows no key and nothing of what is stored or sent in problems and events", async () => {
    const { client, events } = await serve({
      options: { maxBodyBytes: 10, required: true },
      routes: [{ path: "/", handler: () => ({ body: "stored-secret".repeat(10) }) }],
    });
    await client.send({ key: SECRET, body: { pin: "sent-secret" } });
    const answers = [
      await client.send({ key: SECRET, body: { pin: "sent-secret" } }),
      await client.send({ key: SECRET, body: { pin: "other-secret" } }),
      await client.send({ key: `${SECRET},` }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([409, 422, 400]);
    expect(JSON.stringify([answers.map(({ text, headers }) => [text, headers]), events])).not.toMatch(/secret/);
  });

  it("lets onProblem replace a document, but never turn a refusal into a run", async () => {
    let runs = 0;
    const handler = () => ({ json: ++runs });
    const { client } = await serve({
      options: { required: true },
      routes: [
        { path: "/own", layer: { onProblem: (found) => ({ ...found, status: 428, help: "/help" }) }, handler },
        { path: "/ok", layer: { onProblem: (found) => ({ ...found, status: 200 }) }, handler },
        { path: "/none", layer: { onProblem: () => undefined }, handler },
        {
          path: "/throws",
          layer: {
            onProblem: () => {
              throw new Error("no");
            },
          },
          handler,
        },
      ],
    });
    const own = await client.send({ path: "/own" });
    expect([own.status, problem(own)["help"], problem(own)["code"]]).toEqual([428, "/help", "KEY_MISSING"]);
    for (const path of ["/ok", "/none", "/throws"]) expect((await client.send({ path })).status).toBe(400);
    expect(runs).toBe(0);
  });

  /** A stored response with one part put wrong: a kind, the length of the head, the head, the body. */
  function stored(head: unknown, body = "{}"): Uint8Array {
    const text = Buffer.from(typeof head === "string" ? head : JSON.stringify(head));
    const prefix = Buffer.alloc(5, 1);
    prefix.writeUInt32BE(text.length, 1);
    return Buffer.concat([prefix, text, Buffer.from(body)]);
  }

  const good = { status: 200, headers: [["X-A", "1"]], outer: [] as string[] };

  it.each<[string, Uint8Array]>([
    ["a header value with CR LF", stored({ ...good, headers: [["X-A", "1\r\nSet-Cookie: a=1"]] })],
    ["a header name with CR LF", stored({ ...good, headers: [["X-A: 1\r\nX-B", "1"]] })],
    ["a header with NUL", stored({ ...good, headers: [["X-A", "a\u0000b"]] })],
    ["a header that is no pair", stored({ ...good, headers: [["X-A"]] })],
    ["a header value that is a list", stored({ ...good, headers: [["X-A", ["1", "2"]]] })],
    ["headers that are an object", stored({ ...good, headers: { "X-A": "1" } })],
    ["the status 1e9", stored({ ...good, status: 1e9 })],
    ["the status 99", stored({ ...good, status: 99 })],
    ["the status 101", stored({ ...good, status: 101 })],
    ["a status that is text", stored({ ...good, status: "200" })],
    ["a status that is no integer", stored({ ...good, status: 200.5 })],
    ["no status", stored({ headers: [], outer: [] })],
    ["a __proto__ that says it all", stored('{"__proto__":{"status":200,"headers":[],"outer":[]}}')],
    ["a head that is null", stored("null")],
    ["a head that is no JSON", stored("{status:200}")],
    ["a head 100,000 deep", stored("[".repeat(100_000))],
    ["outer names that are none", stored({ ...good, outer: [1] })],
    ["removed names that can't be sent", stored({ ...good, removed: ["a\r\nb"] })],
    ["an unknown kind", Buffer.from([9, 0, 0, 0, 0])],
    ["nothing at all", Buffer.alloc(0)],
    ["a length beyond its end", Buffer.from([1, 0xff, 0xff, 0xff, 0xff, 0x7b])],
    ["a cut-off head", stored(good).subarray(0, 20)],
    ["a value that is no response", Buffer.concat([Buffer.from([2]), Buffer.from('{"then":1}')])],
  ])("never sends a record with %s: 500, and nothing runs", async (_what, bytes) => {
    let runs = 0;
    const service = await serve({ routes: [{ path: "/", handler: () => ({ json: ++runs }) }] });
    await service.client.send({ key: "k" });
    tamper(service, bytes);
    for (let again = 0; again < 2; again += 1) {
      const answer = await service.client.send({ key: "k" });
      expectProblem(answer, 500, "RECORD_CORRUPT", false);
      expect([answer.headers["x-a"], answer.headers["set-cookie"]]).toEqual([undefined, undefined]);
    }
    expect(runs).toBe(1);
  });

  it("never sends the outcome of one key for another", async () => {
    let runs = 0;
    const { client, store } = await serve({ routes: [{ path: "/", handler: () => ({ json: ++runs }) }] });
    await client.send({ key: "a" });
    await client.send({ key: "b" });
    const outcomes = new Map<string, StoredOutcome>();
    const claim = store.executions.claim.bind(store.executions);
    store.executions.claim = async (request, call) => {
      const result = await claim(request, call);
      if (result.status !== "completed") return result;
      outcomes.set(request.id, result.outcome);
      const other = [...outcomes].find(([id]) => id !== request.id)?.[1];
      return other === undefined ? result : { ...result, outcome: other };
    };
    expect((await client.send({ key: "a" })).text).toBe("1");
    expectProblem(await client.send({ key: "b" }), 500, "RECORD_CORRUPT", false);
    expect(runs).toBe(2);
  });

  it("sends a record with then, toJSON and __proto__ in its body as the bytes that they are", async () => {
    const service = await serve({ routes: [{ path: "/", handler: () => ({ json: 1 }) }] });
    await service.client.send({ key: "k" });
    const body = '{"then":"x","toJSON":"y","__proto__":{"z":1}}';
    tamper(service, stored(good, body));
    expect((await service.client.send({ key: "k" })).text).toBe(body);
  });
}

/** Has the ledger give these bytes for every outcome, sealed as somebody could who can write to the engine. */
function tamper({ store }: Service, bytes: Uint8Array): void {
  const forger = outcomeCodec(
    { encode: () => new Uint8Array(bytes), decode: (given) => given },
    Number.MAX_SAFE_INTEGER,
  );
  const claim = store.executions.claim.bind(store.executions);
  store.executions.claim = async (request, call) => {
    const result = await claim(request, call);
    if (result.status !== "completed") return result;
    return { ...result, outcome: forger.encodeValue(request.id, undefined).outcome };
  };
}
