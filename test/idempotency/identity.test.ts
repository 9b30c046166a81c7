import { type CallOptions, withIdempotency } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { describe, expect, it } from "vitest";
import { derivedKey, recordId } from "../../src/idempotency/key.ts";
import { setUp, thrownBy } from "./set-up.ts";

describe("the identity of a record", () => {
  it("is 64 hex digits, whatever the operation, the scope and the key", () => {
    expect(recordId("charge", "", "k")).toMatch(/^[0-9a-f]{64}$/);
    expect(recordId("x".repeat(255), "s".repeat(1_024), "\u{1F680}".repeat(127))).toMatch(/^[0-9a-f]{64}$/);
  });

  it("stays the same over releases, so that a new version finds the old records", () => {
    expect(recordId("charge", "tenant", "order-17")).toBe(
      "1a0f4417cd6399bf635fc9a87f984ebc9875f75f59de6a30c232a2ed51af963e",
    );
  });

  it("tells parts apart wherever the separators stand", () => {
    const ids = [
      recordId("a:b", "", "c"),
      recordId("a", "b:c", ""),
      recordId("a", "b", "c"),
      recordId("a", "", "b:c"),
      recordId("ab", "", "c"),
      recordId("a", "bc", ""),
      recordId("", "ab", "c"),
      recordId("a\u0000b", "", "c"),
      recordId("a", "\u0000b", "c"),
    ];
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("keeps the key of one operation and one scope from another", async () => {
    const { once } = setUp();
    const runs: string[] = [];
    const charge = once((name: string) => void runs.push(name), { fingerprint: false });
    const refund = once((name: string) => void runs.push(name), { operation: "refund", fingerprint: false });
    await charge("charge of nobody");
    await charge("charge of a", { scope: "a" });
    await charge("charge of b", { scope: "b" });
    await refund("refund of a", { scope: "a" });
    await charge("never", { scope: "a" });
    expect(runs).toEqual(["charge of nobody", "charge of a", "charge of b", "refund of a"]);
  });

  it("lets the call's key and scope win over those of the options", async () => {
    const { once } = setUp();
    const seen: string[] = [];
    const charge = once((_input: number, ctx) => void seen.push(`${ctx.operation}/${ctx.scope}/${ctx.key}`), {
      scope: (input) => `tenant ${input}`,
      key: async (input) => `order ${input}`,
    });
    await charge(1);
    await charge(1, { key: "own" });
    await charge(1, { scope: "own" });
    expect(seen).toEqual(["charge/tenant 1/order 1", "charge/tenant 1/own", "charge/own/order 1"]);
  });

  it("takes NFC and NFD forms of one text as two keys", async () => {
    const { once } = setUp();
    let runs = 0;
    const charge = once(() => ++runs);
    await charge(undefined, { key: "\u00e9" });
    await charge(undefined, { key: "e\u0301" });
    expect(runs).toBe(2);
  });

  it("takes odd but valid keys as data", async () => {
    const { once, log } = setUp();
    const keys = ["'; DROP TABLE executions; --", "%", "{}", "__proto__", "return redis.call('FLUSHALL')", "\u{1F680}"];
    keys.push("k".repeat(255), "a b", "constructor", "\u00a0\u00a0x");
    const charge = once((_input: undefined, ctx) => ctx.key);
    for (const key of keys) expect(await charge(undefined, { key })).toBe(key);
    for (const key of keys) expect(await charge(undefined, { key })).toBe(key);
    expect(log.count("executions.complete")).toBe(keys.length);
  });
});

describe("a bad key or scope", () => {
  const bad: [string, CallOptions, string][] = [
    ["an empty key", { key: "" }, "KEY_INVALID"],
    ["a blank key", { key: " \u2003\u00a0" }, "KEY_INVALID"],
    ["a key of 256 characters", { key: "k".repeat(256) }, "KEY_INVALID"],
    ["a key of 256 UTF-16 units", { key: "\u{1F680}".repeat(128) }, "KEY_INVALID"],
    ["a key of a megabyte", { key: "k".repeat(1_048_576) }, "KEY_INVALID"],
    ["a key with NUL", { key: "a\u0000b" }, "KEY_INVALID"],
    ["a key with CR LF", { key: "a\r\nSet-Cookie: x" }, "KEY_INVALID"],
    ["a key with DEL", { key: "a\u007f" }, "KEY_INVALID"],
    ["a key with a C1 control", { key: "a\u0085b" }, "KEY_INVALID"],
    ["a key with a lone high surrogate", { key: "a\ud83d" }, "KEY_INVALID"],
    ["a key with a lone low surrogate", { key: "\ude80a" }, "KEY_INVALID"],
    ["a key that is a number", { key: 17 as never }, "KEY_INVALID"],
    ["a key that is an object", { key: { toString: () => "k" } as never }, "KEY_INVALID"],
    ["a scope with a control character", { scope: "a\nb" }, "KEY_INVALID"],
    ["a scope with a lone surrogate", { scope: "\ud83d" }, "KEY_INVALID"],
    ["a scope that is a number", { scope: 1 as never }, "KEY_INVALID"],
    ["a scope that is too long", { scope: "s".repeat(1_025) }, "KEY_INVALID"],
  ];

  it.each(bad)("%s is refused before any store access", async (_what, call, code) => {
    const { once, log } = setUp();
    let runs = 0;
    const error = await thrownBy(once(() => ++runs)(undefined, call));
    expect(error).toMatchObject({ code, retryable: false });
    expect([runs, log.total]).toEqual([0, 0]);
  });

  it("a missing key is KEY_MISSING, from the options, the call, or a function that knows none", async () => {
    const { clock, store, log } = setUp();
    const keyless = withIdempotency(() => 1, { store, clock, operation: "charge" });
    await expect(keyless(undefined)).rejects.toMatchObject({ code: "KEY_MISSING" });
    const unknowing = withIdempotency(() => 1, { store, clock, operation: "charge", key: () => undefined as never });
    await expect(unknowing(undefined)).rejects.toMatchObject({ code: "KEY_MISSING" });
    expect(log.total).toBe(0);
  });

  it("a scope function that knows no scope is refused, because it would mix tenants", async () => {
    const { once, log } = setUp();
    const charge = once(() => 1, { scope: () => undefined as never });
    await expect(charge(undefined)).rejects.toMatchObject({ code: "KEY_INVALID" });
    expect(log.total).toBe(0);
  });

  it("a key function that throws or rejects passes its error on", async () => {
    const { once, log } = setUp();
    const own = new Error("no such order");
    const throwing = once(() => 1, {
      key: () => {
        throw own;
      },
    });
    expect(await thrownBy(throwing(undefined))).toBe(own);
    expect(await thrownBy(once(() => 1, { key: () => Promise.reject(own) })(undefined))).toBe(own);
    expect(log.total).toBe(0);
  });

  it("never shows the key in the error", async () => {
    const charge = withIdempotency(() => 1, { store: memoryStore(), operation: "charge" });
    const error = (await thrownBy(charge(undefined, { key: "secret\n" }))) as Error;
    expect(error.message).not.toContain("secret");
  });
});

describe("a derived key", () => {
  it("is the same for the same record and label, and another for any other", () => {
    const id = recordId("charge", "", "order-17");
    expect(derivedKey(id, "bank")).toBe(derivedKey(id, "bank"));
    const others = [derivedKey(id, "bank2"), derivedKey(id, ""), derivedKey(recordId("charge", "", "o"), "bank")];
    expect(new Set([derivedKey(id, "bank"), ...others]).size).toBe(4);
  });

  it("is the same on every attempt and gives nothing away of the client's key", async () => {
    const { once, crash } = setUp();
    const keys: string[] = [];
    await crash((ctx) => void keys.push(ctx.deriveKey("bank")));
    await once((_input: undefined, ctx) => void keys.push(ctx.deriveKey("bank"), `${ctx.attempt}`))(undefined);
    expect(keys).toEqual([keys[0], keys[0], "2"]);
    expect(keys[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(keys[0]).not.toBe(recordId("charge", "", "order-17"));
  });
});
