import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { taggedJson } from "../../src/codec.ts";
import { acceptableTo } from "../../src/idempotency/http-encoding.ts";
import { type HeaderPair, keptHeaders } from "../../src/idempotency/http-headers.ts";
import { responseCodec, responseOf, StoredResponse, UNKEPT } from "../../src/idempotency/http-response.ts";

const codec = responseCodec(taggedJson);

/** Bytes of a response with a head of the tester's choice. */
function withHead(head: string): Uint8Array {
  const bytes = Buffer.from(head);
  const prefix = Buffer.alloc(5, 1);
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes, Buffer.from("body")]);
}

describe("the codec of stored responses", () => {
  it("keeps status, header lines and every byte", () => {
    const body = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
    const headers: HeaderPair[] = [
      ["Link", "<a>"],
      ["link", "<b>"],
      ["X", "\u00e9\t"],
    ];
    const decoded = codec.decode(codec.encode(new StoredResponse(207, headers, ["vary"], body))) as StoredResponse;
    expect(decoded).toBeInstanceOf(StoredResponse);
    expect([decoded.status, decoded.headers, decoded.outer]).toEqual([207, headers, ["vary"]]);
    expect(Buffer.from(decoded.body)).toEqual(body);
  });

  it("keeps the names of removed headers, and reads records that have no list of them", () => {
    const removed = codec.decode(codec.encode(new StoredResponse(200, [], [], Buffer.of(1), ["x-outer"])));
    expect((removed as StoredResponse).removed).toEqual(["x-outer"]);
    const bytes = codec.encode(new StoredResponse(200, [], [], Buffer.of(1)));
    expect(Buffer.from(bytes).toString()).not.toContain("removed");
    expect((codec.decode(bytes) as StoredResponse).removed).toEqual([]);
  });

  it("keeps the outcomes of steps by the codec inside, also those that look like a response", () => {
    for (const value of [undefined, 10n, new Map([["a", 1]]), { status: 200, headers: [], outer: [] }]) {
      expect(codec.decode(codec.encode(value))).toEqual(value);
    }
    expect(() => codec.encode(UNKEPT)).toThrow();
  });

  it.each([
    ["status 1e9", '{"status":1e9,"headers":[],"outer":[]}'],
    ["a status in quotes", '{"status":"200","headers":[],"outer":[]}'],
    ["status 101", '{"status":101,"headers":[],"outer":[]}'],
    ["status 200.5", '{"status":200.5,"headers":[],"outer":[]}'],
    ["no status", '{"headers":[],"outer":[]}'],
    ["a value with CR LF", '{"status":200,"headers":[["A","b\\r\\nSet-Cookie: x"]],"outer":[]}'],
    ["a name with CR LF", '{"status":200,"headers":[["A\\r\\nB","b"]],"outer":[]}'],
    ["an empty name", '{"status":200,"headers":[["","b"]],"outer":[]}'],
    ["a value beyond one byte", '{"status":200,"headers":[["A","\u0100"]],"outer":[]}'],
    ["a number for a value", '{"status":200,"headers":[["A",1]],"outer":[]}'],
    ["three in a pair", '{"status":200,"headers":[["A","b","c"]],"outer":[]}'],
    ["headers in an object", '{"status":200,"headers":{"A":"b"},"outer":[]}'],
    ["headers of __proto__", '{"status":200,"__proto__":{"headers":[]},"outer":[]}'],
    ["names that are none", '{"status":200,"headers":[],"outer":[1]}'],
    ["removed names in no list", '{"status":200,"headers":[],"outer":[],"removed":"x"}'],
    ["a removed name that can't be sent", '{"status":200,"headers":[],"outer":[],"removed":["a b"]}'],
    ["null", "null"],
    ["a list", "[]"],
    ["no JSON", "{"],
    ["a head without end", `${"[".repeat(100_000)}`],
  ])("refuses %s", (_what, head) => {
    expect(() => codec.decode(withHead(head))).toThrowError(expect.objectContaining({ code: "RECORD_CORRUPT" }));
  });

  it.each([[[]], [[1]], [[1, 0, 0, 0]], [[1, 255, 255, 255, 255, 1]], [[9, 0, 0, 0, 0]]])(
    "refuses the bytes %j",
    (bytes) => {
      expect(() => codec.decode(Uint8Array.from(bytes))).toThrowError(
        expect.objectContaining({ code: "RECORD_CORRUPT" }),
      );
    },
  );
});

describe("responseOf()", () => {
  it("makes a response of what a handler completes with", () => {
    expect(responseOf({})).toMatchObject({ status: 200, headers: [] });
    expect(responseOf({ status: 201, headers: { Link: ["<a>", "<b>"] }, body: "x" }).headers).toEqual([
      ["Link", "<a>"],
      ["Link", "<b>"],
      ["Content-Type", "text/plain; charset=utf-8"],
    ]);
    expect(Buffer.from(responseOf({ body: null }).body).toString()).toBe("null");
    expect(responseOf({ headers: [["content-type", "image/png"]], body: Buffer.of(1) }).headers).toHaveLength(1);
  });

  it.each([
    undefined,
    null,
    5,
    { status: 99 },
    { status: "200" },
    { headers: { "A b": "c" } },
    { headers: { A: "b\n" } },
    { body: () => 1 },
  ])("refuses %j", (init) => {
    expect(() => responseOf(init)).toThrow(TypeError);
  });
});

describe("the headers of a replay", () => {
  it("are the end-to-end ones", () => {
    const policy = {
      excludeHeaders: new Set(["x-mine"]),
      setCookie: "drop",
      replayHeader: "idempotent-replayed",
    } as const;
    const given: HeaderPair[] = [
      ["Connection", "close, X-Named"],
      ["X-Named", "1"],
      ["Date", "now"],
      ["Content-Length", "1"],
      ["Transfer-Encoding", "chunked"],
      ["Set-Cookie", "a=1"],
      ["Idempotent-Replayed", "true"],
      ["X-Mine", "1"],
      ["ETag", '"v"'],
      ["Link", "<a>"],
      ["Link", "<b>"],
    ];
    expect(keptHeaders(given, policy)).toEqual([
      ["ETag", '"v"'],
      ["Link", "<a>"],
      ["Link", "<b>"],
    ]);
    expect(keptHeaders(given, { ...policy, setCookie: "replay" })).toContainEqual(["Set-Cookie", "a=1"]);
  });
});

describe("acceptableTo()", () => {
  const encoded = (coding: string, body: Uint8Array): StoredResponse =>
    new StoredResponse(
      200,
      [
        ["Content-Encoding", coding],
        ["Vary", "Origin, Accept-Encoding"],
      ],
      [],
      body,
    );

  it.each([
    ["gzip", gzipSync("plain")],
    ["x-gzip", gzipSync("plain")],
    ["deflate", deflateSync("plain")],
    ["BR", brotliCompressSync("plain")],
  ])("decodes %s for a client that excludes it", async (coding, body) => {
    for (const accept of ["", "identity", `${coding};q=0`, "zstd", "*;q=0, identity"]) {
      const response = await acceptableTo(accept, encoded(coding, body));
      expect(Buffer.from(response.body).toString()).toBe("plain");
      expect(response.headers).toEqual([["Vary", "Origin, Accept-Encoding"]]);
    }
    for (const accept of [undefined, "*", coding, `identity;q=0.1, ${coding};q=0.5`, "identity;q=0"]) {
      const response = encoded(coding, body);
      expect(await acceptableTo(accept, response)).toBe(response);
    }
  });

  it("sends what it can't decode as it is stored", async () => {
    for (const response of [
      encoded("zstd", Buffer.of(1)),
      encoded("gzip", Buffer.of(1)),
      encoded("__proto__", Buffer.of(1)),
    ]) {
      expect(await acceptableTo("identity", response)).toBe(response);
    }
  });
});
