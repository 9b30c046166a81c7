import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseFaithfully } from "../../src/idempotency/faithful-json.ts";
import { fingerprintOfRequest, type HttpBody } from "../../src/idempotency/http-fingerprint.ts";

const bytes = (text: string): HttpBody => ({ kind: "bytes", bytes: Buffer.from(text) });
const json = (text: string, contentType = "application/json"): string =>
  fingerprintOfRequest({ method: "POST", url: "/", contentType, body: bytes(text) });

describe("the fingerprint of a request", () => {
  it("is the same for JSON that differs in white space, the order of keys and the way of writing a string", () => {
    const same = ['{"a":1,"b":{"c":[1,2]}}', ' { "b" : {"c":[1,\n2]},\t"a":1 }', '{"\\u0061":1,"b":{"c":[1,2]}}'];
    expect(new Set(same.map((text) => json(text)))).toHaveProperty("size", 1);
    expect(json('{"a":1}', "application/problem+json")).toBe(json('{ "a":1}', "application/problem+json"));
    expect(json("{}", "application/json")).toBe(json("{}", "Application/JSON; charset=UTF-8; profile=x"));
  });

  it.each([
    ['{"a":[1,2]}', '{"a":[2,1]}'],
    ['{"a":1}', '{"a":"1"}'],
    ['{"a":null}', "{}"],
    ['{"a":1,"a":2}', '{"a":2}'],
    ['{"a":1,"a":2}', '{"a":2,"a":2}'],
    ['{"a":1,"\\u0061":2}', '{"a":2}'],
    ["9007199254740993", "9007199254740992"],
    ["[1e400]", "[1e401]"],
    ["0.10000000000000000001", "0.1"],
    ["12345678901234567890.5", "12345678901234567891.5"],
    ['{"__proto__":1}', "{}"],
    ["{", "{ "],
    ["", "null"],
    [`"${"x".repeat(100_000)}a"`, `"${"x".repeat(100_000)}b"`],
  ])("differs between %.60j and %.60j", (a, b) => {
    expect(json(a)).not.toBe(json(b));
  });

  it("depends on the method, the path, the query and its order, the media type and its charset", () => {
    const of = (method: string, url: string, contentType?: string): string =>
      fingerprintOfRequest({ method, url, contentType, body: bytes("x") });
    const all = [
      of("POST", "/a"),
      of("PATCH", "/a"),
      of("POST", "/b"),
      of("POST", "/a?"),
      of("POST", "/a?x=1&y=2"),
      of("POST", "/a?y=2&x=1"),
      of("POST", "/a", "text/plain"),
      of("POST", "/a", "text/plain; charset=latin1"),
      of("POST", "/a", "application/json"),
    ];
    expect(new Set(all).size).toBe(all.length);
    expect(of("POST", "/a", "multipart/form-data; boundary=1")).toBe(
      of("POST", "/a", "multipart/form-data; boundary=2"),
    );
  });

  it("compares files that a parser has taken out of the body, and refuses those that it can't see", () => {
    const of = (content: string | undefined, name = "a.txt"): string => {
      const bytes = content === undefined ? undefined : Buffer.from(content);
      const file = { field: "f", name, mediaType: "text/plain", size: 1, bytes };
      const body = { kind: "parsed", value: { a: "1" }, files: [file] } as HttpBody;
      return fingerprintOfRequest({ method: "POST", url: "/", contentType: "multipart/form-data", body });
    };
    expect(of("a")).toBe(of("a"));
    expect(new Set([of("a"), of("b"), of("a", "b.txt")]).size).toBe(3);
    expect(() => of(undefined)).toThrow(expect.objectContaining({ code: "INVALID_FINGERPRINT" }));
  });
});

describe("parseFaithfully()", () => {
  it("agrees with JSON.parse wherever a value says all that its text says", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), fc.nat(2), (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        const parsed = parseFaithfully(Buffer.from(text));
        if (parsed !== undefined) expect(parsed.value).toEqual(JSON.parse(text));
        // Doubles with many digits, and beyond the largest exponents, may stand for several texts.
        else expect(numbersIn(text).some(({ digits, exponent }) => digits > 15 || exponent > 300)).toBe(true);
      }),
      { seed: 1 },
    );
  });

  it("gives up on what is not JSON, not UTF-8, or nested without end", () => {
    expect(parseFaithfully(Buffer.from("{"))).toBeUndefined();
    expect(parseFaithfully(Buffer.from([0x22, 0xff, 0x22]))).toBeUndefined();
    expect(parseFaithfully(Buffer.from("[".repeat(500) + "]".repeat(500)))).toBeUndefined();
    expect(parseFaithfully(Buffer.from("[".repeat(100_000) + "]".repeat(100_000)))).toBeUndefined();
    expect(parseFaithfully(Buffer.from('{"a":[{"a":1},{"a":2}],"b":"\\"a\\":"}'))?.value).toBeDefined();
  });
});

function numbersIn(text: string): { digits: number; exponent: number }[] {
  return Array.from(
    text.matchAll(/(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?/g),
    ([, whole = "", fraction = "", exponent = "0"]) => ({
      digits: whole.length + fraction.length,
      exponent: Math.abs(Number(exponent)),
    }),
  );
}

describe("the fingerprint of a request, beside its JSON", () => {
  it("tells bodies apart that are decoded in different ways", () => {
    const of = (contentEncoding?: string): string =>
      fingerprintOfRequest({
        ...{ method: "POST", url: "/", contentType: "text/plain", body: bytes("x") },
        ...(contentEncoding === undefined ? {} : { contentEncoding }),
      });
    expect(of("gzip")).not.toBe(of());
    expect(of("GZIP ")).toBe(of("gzip"));
    expect([of(""), of("identity")]).toEqual([of(), of()]);
  });

  it("takes an absolute target, and one with a fragment, for its path and query", () => {
    const of = (url: string): string =>
      fingerprintOfRequest({ method: "POST", url, contentType: undefined, body: bytes("x") });
    for (const url of ["http://shop.example/a?b=1", "HTTPS://shop.example:8443/a?b=1#c", "/a?b=1#c?d"]) {
      expect(of(url)).toBe(of("/a?b=1"));
    }
    expect(of("/http://shop.example/a")).not.toBe(of("/a"));
  });

  it("compares JSON over 1 MiB byte by byte, so that nobody waits for its order", () => {
    const large = (space: string): string => `{"b":${space}1,"a":"${"x".repeat(1_048_576)}"}`;
    expect(json(large(""))).not.toBe(json(large(" ")));
    expect(json(large(""))).toBe(json(large("")));
  });
});
