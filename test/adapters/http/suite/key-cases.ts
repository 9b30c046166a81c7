import { connect } from "node:net";
import { expect, it } from "vitest";
import { expectProblem } from "./expect-problem.ts";
import type { Suite } from "./http-suite.ts";

/** Rules 1 and 2: what is a key, and what is none of the layer's business. */
export function keyCases({ serve }: Suite): void {
  /** Two routes with the layer's defaults, and one that wants a key. */
  async function counting() {
    let runs = 0;
    const handler = () => ({ json: ++runs });
    const service = await serve({
      routes: [
        { path: "/", handler },
        { path: "/", method: "PATCH", handler },
        { path: "/", method: "PUT", handler },
        { path: "/", method: "DELETE", handler },
        { path: "/required", layer: { required: true }, handler },
        { path: "/own", layer: { header: "Request-Id", strictKey: true }, handler },
        { path: "/put", method: "PUT", layer: { methods: ["put"] }, handler },
      ],
    });
    return { ...service, runs: () => runs };
  }

  it("leaves other methods and requests without a key alone, without any store call", async () => {
    const { client, storeCalls, runs } = await counting();
    const sendings = [{ method: "PUT", key: "k" }, { method: "DELETE", key: "k" }, {}, { method: "PATCH" }];
    for (const sending of [...sendings, ...sendings]) {
      const answer = await client.send(sending);
      expect([answer.status, answer.text]).toEqual([200, String(runs())]);
    }
    expect([runs(), storeCalls]).toEqual([8, {}]);
  });

  it("looks at PATCH, and at the methods that it is told to", async () => {
    const { client } = await counting();
    for (const sending of [{ method: "PATCH" }, { method: "PUT", path: "/put" }]) {
      const first = await client.send({ ...sending, key: "k" });
      const retry = await client.send({ ...sending, key: "k" });
      expect([retry.text, retry.headers["idempotent-replayed"]]).toEqual([first.text, "true"]);
    }
  });

  it("refuses a missing key with 400 where it is required", async () => {
    const { client, storeCalls, runs } = await counting();
    const answer = await client.send({ path: "/required" });
    const { title, type } = expectProblem(answer, 400, "KEY_MISSING", false);
    expect([title, type]).toEqual(["Idempotency-Key is missing", "urn:evenkeel:problem:key-missing"]);
    expect((await client.send({ path: "/required", key: "k" })).status).toBe(200);
    expect([runs(), storeCalls]).toEqual([1, { claim: 1, complete: 1 }]);
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
    ["a tab in a string", '"a\tb"'],
    ["two header lines", ["a", "b"]],
    ["two header lines of the same key", ["a", "a"]],
    ["two header lines of strings", ['"a"', '"a"']],
  ])("refuses %s with 400 before any store call", async (_what, key) => {
    const { client, storeCalls, runs } = await counting();
    expectProblem(await client.send({ key }), 400, "KEY_INVALID", false);
    expect([runs(), storeCalls]).toEqual([0, {}]);
  });

  it.each([
    ["NUL", "a\0b"],
    ["a bare carriage return", "a\rb"],
    ["a line break and another header", "a\r\nX-Tenant: b\r\nIdempotency-Key: c"],
    ["an escape", "a\u001bb"],
    ["bytes that are no ASCII", "na\u00efve"],
    ["5,000 characters", "k".repeat(5_000)],
    ["1 MiB", "k".repeat(1_048_576)],
  ])("lets no key with %s through, as it comes over the wire", async (_what, key) => {
    const { port, storeCalls, runs } = await counting();
    const head = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\nIdempotency-Key: ${key}\r\n\r\n`;
    // The server's own parser may be the first to refuse it.
    expect(await statusOf(port, Buffer.from(head, "latin1"))).toMatch(/^(400|431)$/);
    expect([runs(), storeCalls]).toEqual([0, {}]);
  });

  it.each([
    ["a key with what only a string can hold", '"a, b;c=\\"d\\" \\\\e"'],
    ["255 characters", "k".repeat(255)],
    ["words of SQL", '"\'; DROP TABLE evenkeel_executions; --"'],
    ["words of patterns", '"%_{}*[]?"'],
    ["words of Lua", '"]] return redis.call(1) --"'],
    ["a name of every object", "__proto__"],
    ["another name of every object", "constructor"],
  ])("takes %s as data", async (_what, key) => {
    const { client } = await counting();
    expect((await client.send({ key: "other" })).text).toBe("1");
    const first = await client.send({ key });
    const retry = await client.send({ key });
    expect([first.text, retry.text, retry.headers["idempotent-replayed"]]).toEqual(["2", "2", "true"]);
  });

  it("takes X-Idempotency-Key where Idempotency-Key is not there, and a quoted key for the bare one", async () => {
    const { client } = await counting();
    const send = async (headers: Record<string, string>): Promise<string> => (await client.send({ headers })).text;
    expect(await send({ "Idempotency-Key": "k" })).toBe("1");
    expect(await send({ "X-Idempotency-Key": '"k"; a=1' })).toBe("1");
    expect(await send({ "Idempotency-Key": '  "k"  ', "X-Idempotency-Key": "other" })).toBe("1");
    expect(await send({ "X-Idempotency-Key": "other" })).toBe("2");
  });

  it("looks for the key where it is told to, as strictly as it is told to", async () => {
    const { client, runs } = await counting();
    const send = (value: string) => client.send({ path: "/own", headers: { "Request-Id": value } });
    expect([(await send('"k"')).text, (await send('"k"')).text]).toEqual(["1", "1"]);
    expectProblem(await send("k"), 400, "KEY_INVALID", false);
    expect((await client.send({ path: "/own", key: "k" })).headers["idempotent-replayed"]).toBeUndefined();
    expect(runs()).toBe(2);
  });

  it("takes two store calls for a first request, one for a replay, none for a refusal", async () => {
    const { client, storeCalls } = await counting();
    await client.send({ key: "k" });
    expect(storeCalls).toEqual({ claim: 1, complete: 1 });
    await client.send({ key: "k" });
    expect(storeCalls).toEqual({ claim: 2, complete: 1 });
    await client.send({ key: "" });
    await client.send({ path: "/required" });
    expect(storeCalls).toEqual({ claim: 2, complete: 1 });
  });
}

/** The status that a server gives to these bytes. */
function statusOf(port: number, bytes: Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    let received = "";
    const socket = connect(port, "127.0.0.1");
    // It may close while the rest is still being sent.
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      received += chunk;
    });
    socket.on("close", () => resolve(/^HTTP\/1\.1 (\d+) /.exec(received)?.[1] ?? received));
    socket.write(bytes);
  });
}
