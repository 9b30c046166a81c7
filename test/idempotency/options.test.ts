import { withIdempotency } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { describe, expect, it } from "vitest";
import { CALL, setUp } from "./set-up.ts";

const store = memoryStore();
const NUMBERS = [-1, 0, Number.NaN, Number.POSITIVE_INFINITY, 1.5, "5s", 10n, null, 2 ** 53];

const wrong: [string, unknown][] = [
  ...["leaseMs", "retentionMs", "maxWaitMs", "maxWaiters", "storeTimeoutMs", "maxResultBytes"].flatMap((name) =>
    NUMBERS.map((value): [string, unknown] => [name, value]),
  ),
  ...["inFlight", "onError", "onAbandoned", "onLeaseLost", "onCompleteFailure", "onStoreError"].flatMap((name) =>
    ["sometimes", "", true, 1, null].map((value): [string, unknown] => [name, value]),
  ),
  ...[{}, { maxEntries: 0 }, { maxEntries: Number.NaN }, { maxEntries: 5, ttl: 1 }, 5, null].map(
    (value): [string, unknown] => ["cache", value],
  ),
  ...[undefined, "", " ", 5, null, "a\nb", "\ud800", "x".repeat(256)].map((value): [string, unknown] => [
    "operation",
    value,
  ]),
  ...[undefined, null, {}, { executions: {} }, "sqlite:x"].map((value): [string, unknown] => ["store", value]),
  ...[{}, () => {}, { encode: () => {} }].map((value): [string, unknown] => ["codec", value]),
  ["key", "order-17"],
  ["scope", 5],
  ["fingerprint", true],
  ["fingerprint", "amount"],
  ["clock", { now: () => 0 }],
  ["random", Math.random],
  ["onEvent", {}],
  ["leaseSeconds", 30],
  ["timeout", 30],
  ["__proto__x", 1],
];

describe("an option that is wrong", () => {
  it.each(wrong)("%s: %s throws at construction, by its name", (name, value) => {
    const options = { store, operation: "charge", [name]: value };
    expect(() => withIdempotency(() => 1, options as never)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTIONS", retryable: false, message: expect.stringContaining(name) }),
    );
  });

  it.each([undefined, null, 5, "options"])("options that are %s throw", (options) => {
    expect(() => withIdempotency(() => 1, options as never)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTIONS" }),
    );
  });

  it.each([undefined, null, 5, {}])("a function that is %s throws", (fn) => {
    expect(() => withIdempotency(fn as never, { store, operation: "charge" })).toThrow(
      expect.objectContaining({ code: "INVALID_OPTIONS" }),
    );
  });

  it("is said in one sentence", () => {
    expect(() => withIdempotency(() => 1, { store, operation: "charge", leaseMs: -1 })).toThrow(
      "withIdempotency: leaseMs must be a positive whole number of milliseconds.",
    );
  });
});

describe("options", () => {
  it("may be undefined, which is their default", async () => {
    const charge = withIdempotency<undefined, number>(() => 1, {
      store: memoryStore(),
      operation: "charge",
      leaseMs: undefined as never,
      onEvent: undefined as never,
    });
    expect(await charge(undefined, { key: "k" })).toBe(1);
  });

  it("are independent of each other: a lease shorter than a store call, a wait shorter than a lease", async () => {
    const options = { leaseMs: 10, storeTimeoutMs: 60_000, maxWaitMs: 1, inFlight: "wait" } as const;
    const { once } = setUp();
    expect(await once(() => "done", options)(undefined)).toBe("done");
  });

  it("are read once, at construction", async () => {
    const { store: ledger, clock, inner } = setUp();
    const options = { store: ledger, clock, operation: "charge", retentionMs: 1_000, key: () => "order-17" };
    const charge = withIdempotency(() => "done", options);
    options.operation = "refund";
    options.retentionMs = 5;
    await charge(undefined);
    const [view] = await inner.executions.list({ limit: 1 }, CALL);
    expect(view).toMatchObject({ operation: "charge", expiresInMs: 1_000 });
  });
});
