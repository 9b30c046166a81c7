import { expect, it } from "vitest";
import { expectProblem } from "./expect-problem.ts";
import { gate } from "./gate.ts";
import type { Call } from "./http-shim.ts";
import type { Suite } from "./http-suite.ts";
import { ALL_BYTES } from "./samples.ts";

const JSON_TYPE = { "Content-Type": "application/json" };

/** Rules 3 and 4: which requests are the same. */
export function identityCases({ shim, serve }: Suite): void {
  async function counting() {
    let runs = 0;
    const handler = () => ({ json: ++runs });
    const service = await serve({
      routes: [
        { path: "/", handler },
        { path: "/items", mount: "/a", handler },
        { path: "/items", mount: "/b", handler },
        { path: "/named", layer: { operation: "pay" }, handler },
        { path: "/also-named", layer: { operation: "pay" }, handler },
        {
          path: "/by-kind",
          layer: { operation: (request: never) => `pay ${shim.header(request, "x-kind")}` },
          handler,
        },
        { path: "/by-version", layer: { fingerprint: (request: never) => shim.header(request, "x-version") }, handler },
        { path: "/unbound", layer: { fingerprint: false }, handler },
      ],
    });
    const runOf = async (sending: Parameters<typeof service.client.send>[0]): Promise<string> => {
      const answer = await service.client.send({ key: "k", ...sending });
      return answer.status === 200 ? answer.text : `status ${answer.status}`;
    };
    return { ...service, runOf };
  }

  it("keeps keys of two tenants apart", async () => {
    const { runOf } = await counting();
    expect(await runOf({ headers: { "X-Tenant": "a" } })).toBe("1");
    expect(await runOf({ headers: { "X-Tenant": "b" } })).toBe("2");
    expect(await runOf({ headers: { "X-Tenant": "a" } })).toBe("1");
    // What separates scope from key can't be said by either.
    expect(await runOf({ headers: { "X-Tenant": "a:" }, key: "k" })).toBe("3");
    expect(await runOf({ headers: { "X-Tenant": "a" }, key: ":k" })).toBe("4");
    expect(await runOf({})).toBe("5");
  });

  it("keeps two routers with the same relative path apart, and two methods", async () => {
    const { runOf } = await counting();
    expect(await runOf({ path: "/a/items" })).toBe("1");
    expect(await runOf({ path: "/b/items" })).toBe("2");
    expect(await runOf({ path: "/a/items" })).toBe("1");
    expect(await runOf({ path: "/b/items" })).toBe("2");
  });

  it("binds a fixed operation to its method and path, and a key to what is asked by name", async () => {
    const { runOf } = await counting();
    expect(await runOf({ path: "/named" })).toBe("1");
    expect(await runOf({ path: "/also-named" })).toBe("status 422");
    expect(await runOf({ path: "/by-kind", headers: { "X-Kind": "x" } })).toBe("2");
    expect(await runOf({ path: "/by-kind", headers: { "X-Kind": "y" } })).toBe("3");
    expect(await runOf({ path: "/by-kind", headers: { "X-Kind": "x" } })).toBe("2");
  });

  it("compares what it is told to compare", async () => {
    const { runOf } = await counting();
    expect(await runOf({ path: "/by-version", headers: { "X-Version": "1" }, body: [1] })).toBe("1");
    expect(await runOf({ path: "/by-version", headers: { "X-Version": "1" }, body: [2] })).toBe("1");
    expect(await runOf({ path: "/by-version", headers: { "X-Version": "2" }, body: [2] })).toBe("status 422");
    expect(await runOf({ path: "/unbound", body: [1] })).toBe("2");
    expect(await runOf({ path: "/unbound" })).toBe("2");
  });

  it("takes JSON that differs in white space and the order of keys for the same", async () => {
    const { runOf } = await counting();
    expect(await runOf({ body: '{"a":1,"b":[2,{"c":null}]}', headers: JSON_TYPE })).toBe("1");
    expect(await runOf({ body: ' { "b" : [ 2, {"c":null} ],\n"a":1.0 }', headers: JSON_TYPE })).toBe("1");
    const utf8 = { "Content-Type": "application/json; charset=utf-8" };
    expect(await runOf({ body: '{"a":1,"b":[2,{"c":null}]}', headers: utf8 })).toBe("1");
  });

  it.each([
    ["another value", '{"a":1}', '{"a":2}'],
    ["another order of a list", "[1,2]", "[2,1]"],
    ["one more member", '{"a":1}', '{"a":1,"b":null}'],
    ["text for a number", '{"a":1}', '{"a":"1"}'],
    ["a key that comes twice", '{"a":1,"a":2}', '{"a":2}'],
    ["numbers beyond 2^53", '{"a":9007199254740993}', '{"a":9007199254740992}'],
    ["a member called __proto__", '{"__proto__":{"a":1}}', "{}"],
    ["the end of the body", `{"a":"${"x".repeat(70_000)}1"}`, `{"a":"${"x".repeat(70_000)}2"}`],
  ])("refuses JSON with %s with 422, and the first answer still replays", async (_what, first, other) => {
    const { client, runOf } = await counting();
    expect(await runOf({ body: first, headers: JSON_TYPE })).toBe("1");
    const { title } = expectProblem(
      await client.send({ key: "k", body: other, headers: JSON_TYPE }),
      422,
      "FINGERPRINT_MISMATCH",
      false,
    );
    expect(title).toBe("Idempotency-Key is already used");
    expect(await runOf({ body: first, headers: JSON_TYPE })).toBe("1");
  });

  it.each<[string, string, string | Buffer, string | Buffer]>([
    ["text", "text/plain", "hello", "Hello"],
    ["a form", "application/x-www-form-urlencoded", "a=1&b=2", "a=1&b=3"],
    ["all 256 byte values", "application/octet-stream", ALL_BYTES, ALL_BYTES.subarray(1)],
    ["a type of nobody's", "application/x-odd", "one", "two"],
    ["multipart", "multipart/form-data; boundary=x", formWith("1"), formWith("2")],
    ["an empty body", "text/plain", "", "x"],
  ])("compares the bytes of %s", async (_what, type, body, other) => {
    const { runOf } = await counting();
    const headers = { "Content-Type": type };
    expect(await runOf({ body, headers })).toBe("1");
    expect(await runOf({ body, headers })).toBe("1");
    expect(await runOf({ body: other, headers })).toBe("status 422");
    expect(await runOf({ body, headers })).toBe("1");
  });

  it("compares the query and the media type, but not who asks", async () => {
    const { runOf } = await counting();
    const text = (type: string) => ({ body: "x", headers: { "Content-Type": type } });
    expect(await runOf({ path: "/?a=1&b=2", ...text("text/plain") })).toBe("1");
    expect(await runOf({ path: "/?b=2&a=1", ...text("text/plain") })).toBe("status 422");
    expect(await runOf({ path: "/", ...text("text/plain") })).toBe("status 422");
    expect(await runOf({ path: "/?a=1&b=2", ...text("text/html") })).toBe("status 422");
    expect(await runOf({ path: "/?a=1&b=2", ...text("text/plain; charset=latin1") })).toBe("status 422");
    const asked = { "Content-Type": "text/plain; format=flowed", Authorization: "Bearer 2", "User-Agent": "other" };
    expect(await runOf({ path: "/?a=1&b=2", body: "x", headers: asked })).toBe("1");
  });

  it("refuses another payload with 422 also while the first runs, before it says that it runs", async () => {
    const working = gate();
    const started = gate();
    const { client } = await serve({
      routes: [
        {
          path: "/",
          handler: async () => {
            started.open();
            await working.opened;
            return { json: "done" };
          },
        },
      ],
    });
    const first = client.send({ key: "k", body: { a: 1 } });
    await started.opened;
    expectProblem(await client.send({ key: "k", body: { a: 2 } }), 422, "FINGERPRINT_MISMATCH", false);
    expectProblem(await client.send({ key: "k", body: { a: 1 } }), 409, "IN_PROGRESS", true);
    working.open();
    expect((await first).text).toBe('"done"');
    const retry = await client.send({ key: "k", body: { a: 1 } });
    expect([retry.text, retry.headers["idempotent-replayed"]]).toEqual(['"done"', "true"]);
    expectProblem(await client.send({ key: "k", body: { a: 2 } }), 422, "FINGERPRINT_MISMATCH", false);
  });

  it("gives the handler the body as the client sent it, unread and whole, at once or in pieces", async () => {
    const echo = async (call: Call) => ({ headers: { "Content-Type": "application/x-echo" }, body: await call.body() });
    const { client } = await serve({ routes: [{ path: "/", handler: echo }] });
    const body = Buffer.concat(Array.from({ length: 1_200 }, () => ALL_BYTES));
    const headers = { "Content-Type": "application/octet-stream" };
    const first = await client.send({ key: "k", body, headers });
    expect(first.body.equals(body)).toBe(true);
    const chunked = { key: "k", headers: { ...headers, "Transfer-Encoding": "chunked" } };
    const retry = await client.sendPieces(chunked, [
      body.subarray(0, 10),
      body.subarray(10, 70_000),
      body.subarray(70_000),
    ]);
    expect([retry.body.equals(body), retry.headers["idempotent-replayed"]]).toEqual([true, "true"]);
    const other = { key: "other", headers: { ...headers, "Transfer-Encoding": "chunked" } };
    expect((await client.sendPieces(other, [body.subarray(0, 1), body.subarray(1)])).body.equals(body)).toBe(true);
    expect((await client.sendPieces({ ...other, key: "empty" }, [])).body.length).toBe(0);
  });
}

function formWith(value: string): string {
  return `--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n${value}\r\n--x--\r\n`;
}
