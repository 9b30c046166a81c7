import { type EvenkeelError, withIdempotency } from "evenkeel";
import { idempotent } from "evenkeel/fetch";
import { describe, expect, it } from "vitest";
import { recordId } from "../../../src/idempotency/key.ts";
import { CALL, claim, idOf, useLedger } from "./ledger-kit.ts";

const KEY = "order-17";

const ledger = useLedger("executions");
const executions = ledger.run;

describe("executions complete", () => {
  const pay = () => withIdempotency(async (): Promise<unknown> => "ran", { store: ledger.store, operation: "pay" });
  const named = ["--operation", "pay", "--key", KEY];
  const abandon = (operation = "pay") =>
    claim(ledger.store, { id: recordId(operation, "", KEY), operation, leaseMs: 1 });

  it("gives callers an error as one that was stored", async () => {
    await abandon();
    const given = ["--error", "the bank said no", "--error-code", "DECLINED"];
    expect(await executions("complete", ...named, ...given, "--yes")).toMatchObject({ status: 0 });
    const error = await pay()(undefined, { key: KEY }).catch((error: EvenkeelError) => error);
    expect(error).toMatchObject({ name: "Error", message: "the bank said no", code: "DECLINED" });
  });

  it("gives clients of an HTTP service a response, and nothing that they could not be sent", async () => {
    await abandon("POST /payments");
    const route = ["--operation", "POST /payments", "--key", KEY];
    for (const wrong of [
      ["--value", "1"],
      ["--error", "no"],
    ]) {
      const refused = await executions("complete", ...route, ...wrong, "--yes");
      expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining("HTTP responses: say --status") });
    }
    const given = ["--status", "201", "--body", '{"paid":true}'];
    expect(await executions("complete", ...route, ...given, "--yes")).toMatchObject({ status: 0 });
    const fetch = idempotent(async () => new Response("ran"), { store: ledger.store, scope: () => "" });
    const headers = { "idempotency-key": KEY };
    const response = await fetch(new Request("http://localhost/payments", { method: "POST", headers, body: "{}" }));
    expect(response.status).toBe(201);
    expect(await response.json()).toEqual({ paid: true });
    expect(response.headers.get("content-type")).toBe("application/json; charset=utf-8");
    expect((await executions("show", ...route, "--outcome")).stdout).toContain("HTTP 201\n");
  });

  it("knows by its other outcomes what an operation keeps", async () => {
    await pay()(undefined, { key: "another" });
    await abandon();
    const refused = await executions("complete", ...named, "--status", "200", "--yes");
    expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining("no HTTP responses") });
    const codec = { encode: () => Uint8Array.of(0xff), decode: () => "mine" };
    const other = withIdempotency(async () => "mine", { store: ledger.store, operation: "of-its-own", codec });
    await other(undefined, { key: "another" });
    await abandon("of-its-own");
    const its = ["--operation", "of-its-own", "--key", KEY];
    const foreign = await executions("complete", ...its, "--value", "1", "--yes");
    expect(foreign).toMatchObject({ status: 2, stderr: expect.stringContaining("a codec of its own") });
    // An error has one form for all of them.
    const failed = await executions("complete", ...its, "--error", "declined", "--yes");
    expect(failed).toMatchObject({ status: 0, stdout: expect.stringMatching(/completed with an error$/m) });
  });

  it.each<[string[], string]>([
    [[], "say one of --value, --error and --status"],
    [["--value", "1", "--error", "e"], "say one of --value, --error and --status"],
    [["--value", "paid"], "--value must be JSON"],
    [["--value", "1", "--error-code", "E"], "--error-code goes with --error"],
    [["--value", "1", "--body", "b"], "--body goes with --status"],
    [["--value", JSON.stringify("x".repeat(1_100_000))], "larger than 1048576 bytes"],
    [["--status", "99"], "a status from 200 to 999"],
    [["--status", "204", "--body", "b"], "without a body"],
  ])("refuses %j", async (given, told) => {
    await abandon();
    const before = await ledger.store.executions.get(recordId("pay", "", KEY), CALL);
    const refused = await executions("complete", ...named, ...given, "--yes");
    expect(refused).toMatchObject({ status: 2, stdout: "" });
    expect(refused.stderr).toContain(told);
    expect((await ledger.store.executions.get(recordId("pay", "", KEY), CALL))?.token).toBe(before?.token);
  });
});

describe("executions release", () => {
  it("forgets a record, so that its key takes another payload", async () => {
    const failing = withIdempotency<string, string>(() => new Promise(() => {}), {
      store: ledger.store,
      operation: "pay",
    });
    failing("one payload", { key: KEY }).catch(() => {});
    const id = recordId("pay", "", KEY);
    await expect.poll(() => ledger.store.executions.get(id, CALL)).toBeDefined();
    const before = (await ledger.store.executions.get(id, CALL))?.token ?? 0;
    expect((await executions("release", id, "--forget", "--yes", "--json")).json()).toMatchObject({
      result: "forgotten",
    });
    const next = withIdempotency(async (_: string, ctx) => [ctx.attempt, ctx.fencingToken > before], {
      ...{ store: ledger.store, operation: "pay" },
    });
    expect(await next("another payload", { key: KEY })).toEqual([1, true]);
  });

  it("ends with 1 and changes nothing where there is nothing to release", async () => {
    expect(await executions("release", idOf("aa"), "--yes")).toMatchObject({ status: 1, stdout: "" });
    await withIdempotency(async () => 1, { store: ledger.store, operation: "pay" })(undefined, { key: KEY });
    const id = recordId("pay", "", KEY);
    const before = await ledger.store.executions.get(id, CALL);
    expect(await executions("release", id, "--yes")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("final"),
    });
    expect((await ledger.store.executions.get(id, CALL))?.token).toBe(before?.token);
  });
});
