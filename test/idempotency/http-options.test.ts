import { describe, expect, it } from "vitest";
import { memoryStore } from "../../adapters/stores/memory.ts";
import { createHttpPolicy, type HttpOptions } from "../../src/idempotency/http.ts";

describe("the options of every HTTP shim", () => {
  const good: HttpOptions<object> = { store: memoryStore(), scope: () => "" };

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
    expect(() => createHttpPolicy("idempotency", { ...good, ...wrong } as never)).toThrowError(
      expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining(name) }),
    );
  });

  it("have to be an object", () => {
    expect(() => createHttpPolicy("idempotency", undefined as never)).toThrowError(
      expect.objectContaining({ code: "INVALID_OPTIONS" }),
    );
  });
});
