import { describe, expect, it } from "vitest";
import { keyOfHeaders } from "../../src/idempotency/http-key.ts";

const RULES = { header: ["idempotency-key", "x-idempotency-key"], strictKey: false };
const keyOf = (value: string, strictKey = false): string | undefined =>
  keyOfHeaders(["Idempotency-Key", value], { ...RULES, strictKey });

describe("the idempotency key of a header", () => {
  it.each([
    ["k", "k"],
    ['"k"', "k"],
    ["  k\t", "k"],
    ['"a b"', "a b"],
    ['"a\\"b\\\\c"', 'a"b\\c'],
    ['"a,b;c"', "a,b;c"],
    ['"k";a', "k"],
    ['"k"; a=1;b=-1.5; *c="x;\\"y";d=token/x:y;e=:aGk=:;f=?1', "k"],
    ["8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"],
    ["'; DROP TABLE executions--".replace("; ", ":").replaceAll(" ", "_"), "':DROP_TABLE_executions--"],
    ['"\'; DROP TABLE executions --"', "'; DROP TABLE executions --"],
    ["__proto__", "__proto__"],
    ["%00{}", "%00{}"],
    ["a\\b", "a\\b"],
    ["k".repeat(255), "k".repeat(255)],
    [`"${"k".repeat(255)}"`, "k".repeat(255)],
    [`"${'\\"'.repeat(255)}"`, '"'.repeat(255)],
  ])("%j is the key %j", (value, key) => {
    expect(keyOf(value)).toBe(key);
  });

  it.each([
    "",
    " ",
    '""',
    '"  "',
    '"k',
    'k"',
    '"k" x',
    '"k"x',
    '"k";A=1',
    '"k";',
    '"k";a=',
    '"k\\n"',
    '"a", "b"',
    "a,b",
    "a, b",
    "a;b",
    "a b",
    "a\tb",
    "a\u0000b",
    "a\u007f",
    '"a\u0001"',
    "sch\u00f6n",
    '"sch\u00f6n"',
    "k".repeat(256),
    `"${"k".repeat(256)}"`,
    `"${"k".repeat(100_000)}`,
  ])("%j is malformed", (value) => {
    expect(() => keyOf(value)).toThrowError(expect.objectContaining({ code: "KEY_INVALID" }));
  });

  it("has to be an RFC 8941 string where that is asked for", () => {
    expect(keyOf('"k"', true)).toBe("k");
    expect(() => keyOf("k", true)).toThrowError(expect.objectContaining({ code: "KEY_INVALID" }));
  });

  it("is that of the first name that is there, in one line", () => {
    expect(keyOfHeaders([], RULES)).toBeUndefined();
    expect(keyOfHeaders(["X-Other", "k"], RULES)).toBeUndefined();
    expect(keyOfHeaders(["x-idempotency-KEY", "b", "IDEMPOTENCY-key", "a"], RULES)).toBe("a");
    expect(keyOfHeaders(["X-Idempotency-Key", "b"], RULES)).toBe("b");
    expect(() => keyOfHeaders(["Idempotency-Key", "a", "idempotency-key", "a"], RULES)).toThrowError("more than one");
  });

  it("is not shown by the error about it", () => {
    for (const value of ["secret,", '"secret', "secret".repeat(50)]) {
      expect(() => keyOf(value)).toThrowError(
        expect.objectContaining({ message: expect.not.stringContaining("secret") }),
      );
    }
  });
});
