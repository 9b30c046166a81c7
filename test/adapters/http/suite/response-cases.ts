import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { endToEnd } from "../http-client.ts";
import type { Reply, RouteSpec } from "./http-shim.ts";
import type { Suite } from "./http-suite.ts";

/** Rules 7, 8 and 9: what of a response is kept, and what a retry is given of it. */
export function responseCases({ shim, serve }: Suite): void {
  it("drops Set-Cookie unless it is asked for, and what is excluded", async () => {
    const handler = (): Reply => ({ headers: { "Set-Cookie": ["a=1; Path=/", "b=2"], "X-Private": "p" }, json: 1 });
    const { client } = await serve({
      routes: [
        { path: "/drop", handler },
        { path: "/replay", layer: { setCookie: "replay", excludeHeaders: ["x-private"] }, handler },
      ],
    });
    for (const path of ["/drop", "/replay"]) {
      const first = await client.send({ path, key: "k" });
      expect([first.headers["set-cookie"], first.headers["x-private"]]).toEqual([["a=1; Path=/", "b=2"], "p"]);
    }
    const dropped = await client.send({ path: "/drop", key: "k" });
    expect([dropped.headers["set-cookie"], dropped.headers["x-private"]]).toEqual([undefined, "p"]);
    const replayed = await client.send({ path: "/replay", key: "k" });
    expect([replayed.headers["set-cookie"], replayed.headers["x-private"]]).toEqual([
      ["a=1; Path=/", "b=2"],
      undefined,
    ]);
  });

  it("leaves out hop-by-hop headers and those that Connection names", async () => {
    const { client } = await serve({
      routes: [
        {
          path: "/",
          handler: () => ({
            headers: { Connection: "keep-alive, X-Hop", "X-Hop": "1", "Keep-Alive": "timeout=9", "X-End": "1" },
            json: 1,
          }),
        },
      ],
    });
    await client.send({ key: "k" });
    const replay = await client.send({ key: "k" });
    expect(replay.headers["x-hop"]).toBeUndefined();
    expect(replay.headers["keep-alive"]).not.toBe("timeout=9");
    expect([replay.headers["x-end"], replay.headers["idempotent-replayed"]]).toEqual(["1", "true"]);
  });

  it("computes Content-Length and Date anew, and keeps the lines of a header", async () => {
    const { client } = await serve({
      routes: [
        { path: "/", handler: () => ({ headers: { Link: ["<a>; rel=x", "<b>; rel=y"] }, body: Buffer.from("grüße") }) },
      ],
    });
    await client.send({ key: "k" });
    const replay = await client.send({ key: "k" });
    expect(replay.headers["content-length"]).toBe("7");
    const lines = endToEnd(replay).filter((line) => line.startsWith("link: "));
    const separate = ["link: <a>; rel=x", "link: <b>; rel=y"];
    expect(lines).toEqual(shim.traits.keepsHeaderLines ? separate : ["link: <a>; rel=x, <b>; rel=y"]);
    expect(replay.rawHeaders.filter((name) => name.toLowerCase() === "date").length).toBeLessThanOrEqual(1);
  });

  it("lets the present header of an outer layer win, once, but not over what the handler has set", async () => {
    let requests = 0;
    const { client } = await serve({
      before: () => ({ headers: { "X-Request-Id": `r${++requests}`, "Cache-Control": "no-store" } }),
      routes: [{ path: "/", handler: () => ({ headers: { "Cache-Control": "max-age=60" }, json: 1 }) }],
    });
    const first = await client.send({ key: "k" });
    expect([first.headers["x-request-id"], first.headers["cache-control"]]).toEqual(["r1", "max-age=60"]);
    const replay = await client.send({ key: "k" });
    expect(replay.rawHeaders.filter((name) => name.toLowerCase() === "x-request-id")).toHaveLength(1);
    expect([replay.headers["x-request-id"], replay.headers["cache-control"]]).toEqual(["r2", "max-age=60"]);
    const refused = await client.send({ key: "k", body: "other" });
    expect([refused.status, refused.headers["x-request-id"]]).toEqual([422, "r3"]);
  });

  it("decodes a stored body for a client that does not take its coding", async () => {
    const headers = { "Content-Encoding": "gzip", ETag: '"v"', "Content-Type": "text/plain" };
    const { client } = await serve({
      routes: [{ path: "/", handler: () => ({ headers, body: gzipSync("squeezed") }) }],
    });
    const taking = (accepted?: string) =>
      client.send({ key: "k", headers: accepted === undefined ? {} : { "Accept-Encoding": accepted } });
    await taking("gzip");
    const plain = await taking("identity");
    const { "content-encoding": coding, etag, vary, "content-length": length } = plain.headers;
    expect([plain.text, coding, etag, length]).toEqual(["squeezed", undefined, 'W/"v"', "8"]);
    expect(vary).toMatch(/accept-encoding/i);
    const encoded = await taking("br, gzip;q=0.5");
    expect([encoded.headers["content-encoding"], encoded.headers.etag]).toEqual(["gzip", '"v"']);
    expect(encoded.body).toEqual(gzipSync("squeezed"));
    expect((await taking("gzip;q=0, *")).text).toBe("squeezed");
    expect((await taking("")).text).toBe("squeezed");
    expect((await taking()).body).toEqual(gzipSync("squeezed"));
  });

  it.each(["around", "within"] as const)(
    "replays the same answer with compression %s the layer",
    async (compression) => {
      const text = "the same line again\n".repeat(500);
      const { client } = await serve({
        compression,
        routes: [
          { path: "/plain", layer: false, handler: () => ({ headers: { "Content-Type": "text/plain" }, body: text }) },
          { path: "/", handler: () => ({ headers: { "Content-Type": "text/plain" }, body: text }) },
        ],
      });
      const taking = (coding: string, path = "/") =>
        client.send({ path, key: "k", headers: { "Accept-Encoding": coding } });
      const plain = await taking("gzip", "/plain");
      expect(plain.headers["content-encoding"]).toBe("gzip");
      const first = await taking("gzip");
      const replay = await taking("gzip");
      for (const answer of [first, replay]) {
        expect([answer.status, endToEnd(answer)]).toEqual([200, endToEnd(plain)]);
        expect(answer.body.equals(plain.body)).toBe(true);
      }
      expect(replay.headers["idempotent-replayed"]).toBe("true");
      const decoded = await taking("identity");
      expect([decoded.text, decoded.headers["content-encoding"]]).toEqual([text, undefined]);
      expect(decoded.headers.vary).toMatch(/accept-encoding/i);
    },
  );

  it("names a replay as it is told to", async () => {
    const { client } = await serve({
      routes: [{ path: "/", layer: { replayHeader: "X-Again" }, handler: () => ({ json: 1 }) }],
    });
    expect((await client.send({ key: "k" })).headers["x-again"]).toBeUndefined();
    const { headers } = await client.send({ key: "k" });
    expect([headers["x-again"], headers["idempotent-replayed"]]).toEqual(["true", undefined]);
  });

  it("keeps by status as the policy says", async () => {
    let runs = 0;
    const policies: readonly (readonly [path: string, layer: RouteSpec["layer"]])[] = [
      ["/success", {}],
      ["/deterministic", { record: "deterministic" }],
      ["/all", { record: "all" }],
      ["/own", { record: (status) => (status === 422 ? "store" : "release") }],
      [
        "/throws",
        {
          record: () => {
            throw new Error("no");
          },
        },
      ],
    ];
    const { client } = await serve({
      routes: policies.map(([path, layer = {}]) => ({
        path,
        layer,
        handler: (call): Reply => ({ status: Number(call.header("x-status")), json: ++runs }),
      })),
    });
    let keys = 0;
    async function isKept(path: string, status: number): Promise<boolean> {
      const sending = { path, key: `k${++keys}`, headers: { "X-Status": String(status) } };
      const first = await client.send(sending);
      const second = await client.send(sending);
      expect([first.status, second.status]).toEqual([status, status]);
      expect(second.headers["idempotent-replayed"] === "true").toBe(second.text === first.text);
      return second.text === first.text;
    }
    for (const status of [400, 404, 422, 429, 500, 503]) expect(await isKept("/success", status)).toBe(false);
    for (const status of [200, 302, 399]) expect(await isKept("/success", status)).toBe(true);
    for (const status of [200, 400, 404, 422]) expect(await isKept("/deterministic", status)).toBe(true);
    for (const status of [401, 403, 407, 408, 409, 423, 425, 429, 500]) {
      expect(await isKept("/deterministic", status)).toBe(false);
    }
    for (const status of [200, 429, 500, 503]) expect(await isKept("/all", status)).toBe(true);
    expect([await isKept("/own", 422), await isKept("/own", 200), await isKept("/throws", 500)]).toEqual([
      true,
      false,
      true,
    ]);
  });

  it("tells a record function what was answered", async () => {
    const seen: unknown[] = [];
    const { client } = await serve({
      routes: [
        {
          path: "/",
          layer: {
            record: (status, { headers, body }) => {
              const own = headers.find(([name]) => name.toLowerCase() === "x-own");
              seen.push([status, own?.[1], Buffer.from(body ?? []).toString()]);
              return "store";
            },
          },
          handler: () => ({ status: 503, headers: { "X-Own": "1" }, body: "later" }),
        },
      ],
    });
    await client.send({ key: "k" });
    expect(seen).toEqual([[503, "1", "later"]]);
    expect((await client.send({ key: "k" })).status).toBe(503);
  });
}
