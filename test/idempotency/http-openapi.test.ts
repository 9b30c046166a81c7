import { Validator } from "@seriousme/openapi-schema-validator";
import { describe, expect, it } from "vitest";
import { memoryStore } from "../../adapters/stores/memory.ts";
import { type HttpOptions, openApiFragment } from "../../src/idempotency/http.ts";

const fragmentOf = (options: Partial<HttpOptions<object>> = {}) =>
  openApiFragment<object>({ store: memoryStore(), scope: () => "", ...options });

function codesOf(fragment: ReturnType<typeof fragmentOf>): Record<string, string[]> {
  return Object.fromEntries(
    Object.entries(fragment.responses).map(([status, { content }]) => [
      status,
      Object.keys(content["application/problem+json"].examples),
    ]),
  );
}

describe("openApiFragment()", () => {
  it.each(["3.1.0", "3.0.3"])("makes an operation of an OpenAPI %s document", async (openapi) => {
    const validator = new Validator();
    for (const options of [{}, { required: true, strictKey: true, inFlight: "wait", onAbandoned: "reject" }] as const) {
      const { parameters, responses, replayHeaders } = fragmentOf(options);
      const created = { description: "Paid.", headers: replayHeaders };
      const post = { parameters, responses: { "201": created, ...responses } };
      const document = { openapi, info: { title: "Payments", version: "1" }, paths: { "/payments": { post } } };
      // As a file says it.
      const { valid, errors } = await validator.validate(JSON.parse(JSON.stringify(document)));
      expect([valid, errors]).toEqual([true, undefined]);
    }
  });

  it("says the defaults", () => {
    const { parameters, responses, replayHeaders } = fragmentOf();
    expect(parameters).toEqual([
      {
        name: "Idempotency-Key",
        in: "header",
        required: false,
        description: expect.any(String),
        schema: { type: "string", minLength: 1 },
        example: expect.stringMatching(/^".+"$/),
      },
    ]);
    const [{ description } = { description: "" }] = parameters;
    for (const said of [
      "POST, PATCH",
      "1 day",
      "query, media type and body",
      "422",
      "X-Idempotency-Key is taken too",
    ]) {
      expect(description).toContain(said);
    }
    expect(codesOf(fragmentOf())).toEqual({
      "400": ["KEY_INVALID", "INVALID_FINGERPRINT"],
      "409": ["IN_PROGRESS", "RESULT_NOT_REPLAYABLE", "LEASE_LOST"],
      "413": ["REQUEST_TOO_LARGE"],
      "422": ["FINGERPRINT_MISMATCH"],
      "503": ["STORE_UNAVAILABLE"],
    });
    expect(Object.keys(replayHeaders)).toEqual(["Idempotent-Replayed"]);
    for (const [status, response] of Object.entries(responses)) {
      expect(response.headers !== undefined).toBe(["409", "503"].includes(status));
      const { schema, examples } = response.content["application/problem+json"];
      for (const { value } of Object.values(examples)) {
        expect(String(value.status)).toBe(status);
        expect((schema["required"] as string[]).every((name) => name in value)).toBe(true);
      }
    }
  });

  it("says what the options make of it", () => {
    const fragment = fragmentOf({
      required: true,
      strictKey: true,
      header: "Request-Id",
      methods: ["put"],
      retentionMs: 5_400_000,
      replayHeader: "X-Again",
      inFlight: "wait",
      onAbandoned: "reject",
      fingerprint: () => 1,
    });
    const [parameter] = fragment.parameters;
    expect([parameter?.name, parameter?.required]).toEqual(["Request-Id", true]);
    for (const said of ["PUT", "90 minutes", "double quotes"]) expect(parameter?.description).toContain(said);
    expect(parameter?.description).not.toContain("taken too");
    expect(Object.keys(fragment.replayHeaders)).toEqual(["X-Again"]);
    expect(codesOf(fragment)).toEqual({
      "400": ["KEY_MISSING", "KEY_INVALID", "INVALID_FINGERPRINT"],
      "409": ["WAIT_TIMEOUT", "RESULT_NOT_REPLAYABLE", "LEASE_LOST", "ABANDONED"],
      "422": ["FINGERPRINT_MISMATCH"],
      "503": ["STORE_UNAVAILABLE", "TOO_MANY_WAITERS"],
    });
    const unbound = fragmentOf({ fingerprint: false, onStoreError: "open" });
    expect(codesOf(unbound)).toEqual({
      "400": ["KEY_INVALID"],
      "409": ["IN_PROGRESS", "RESULT_NOT_REPLAYABLE", "LEASE_LOST"],
    });
    expect(unbound.parameters[0]?.description).toContain("not compared");
    expect(codesOf(fragmentOf({ fingerprint: false, operation: "pay" }))["422"]).toEqual(["FINGERPRINT_MISMATCH"]);
  });

  it("takes as a strict key what the layer takes", () => {
    const [parameter] = fragmentOf({ strictKey: true }).parameters;
    const pattern = new RegExp(String(parameter?.schema["pattern"]));
    for (const key of ['"k"', '"a\\"b"', '"k"; a=1', parameter?.example ?? ""]) expect(pattern.test(key)).toBe(true);
    for (const key of ["k", '""', '"k', '"sch\u00f6n"']) expect(pattern.test(key)).toBe(false);
  });

  it("refuses wrong options as the shim does", () => {
    const refusal = expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining("required") });
    expect(() => fragmentOf({ required: 1 } as never)).toThrowError(refusal);
  });
});
