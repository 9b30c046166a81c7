import { withIdempotency } from "evenkeel";
import { describe, expect, it } from "vitest";
import { openDatabase } from "../../support/sqlite-files.ts";
import { run } from "./cli-kit.ts";
import { CALL, claim, fileOf, idOf, useLedger } from "./ledger-kit.ts";

const ledger = useLedger("executions");
const executions = ledger.run;

describe("executions show", () => {
  it("finds a record by what its id begins with, and asks for more where that is not enough", async () => {
    for (const id of [idOf("abcdef0123"), idOf("abcdef0129"), idOf("00000000")]) await claim(ledger.store, { id });
    expect((await executions("show", "ABCDEF0123")).stdout).toContain(`id         ${idOf("abcdef0123")}\n`);
    expect((await executions("show", "00000000")).status).toBe(0);
    const ambiguous = await executions("show", "abcdef01");
    expect(ambiguous).toMatchObject({ status: 2, stdout: "" });
    expect(ambiguous.stderr).toContain(`${idOf("abcdef0123")}, ${idOf("abcdef0129")}`);
  });

  it.each([["abcdef01"], [idOf("abcdef01")], ["--operation", "pay", "--key", "k"]])(
    "ends with 1 for what is not there: %s",
    async (...argv) => {
      const text = await executions("show", ...argv);
      expect(text).toMatchObject({ status: 1, stdout: "" });
      expect(text.stderr).toMatch(/^evenkeel: there is no such execution[^\n]*\n$/);
      expect(await executions("show", ...argv, "--json")).toMatchObject({
        status: 1,
        stdout: '{\n  "execution": null\n}\n',
      });
    },
  );

  it("does not call a record absent that can't be read, by whatever it is named", async () => {
    const id = idOf("abcdef01");
    await claim(ledger.store, { id });
    const file = openDatabase(fileOf(ledger.url));
    file.exec("UPDATE evenkeel_executions SET format = 2");
    file.close();
    for (const verb of [["show"], ["release"], ["complete", "--value", "1"]]) {
      const byPrefix = await executions(...verb, "abcdef01");
      expect(byPrefix).toMatchObject({ status: 1, stderr: expect.stringMatching(/that can be read.*all 64 digits/) });
      expect(await executions(...verb, id)).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/can't be read/),
      });
    }
    const { stdout } = await run(["doctor", "--store", ledger.url]);
    expect(stdout).toContain(id);
  });

  it("shows a moment that is no date as the number that it is", async () => {
    const id = idOf("abcdef02");
    await claim(ledger.store, { id });
    const file = openDatabase(fileOf(ledger.url));
    file.exec("UPDATE evenkeel_executions SET created_at = 9000000000000000");
    file.close();
    const { status, stdout } = await executions("show", id);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^created +9000000000000000, /m);
  });

  it("shows the outcomes of functions, as what they are", async () => {
    const value = { receipt: "r\u001b[31m\u009b1", at: new Date(0), large: 10n ** 20n };
    await withIdempotency(async () => value, { store: ledger.store, operation: "pay" })(undefined, { key: "value" });
    const failure = Object.assign(new RangeError("too much"), { code: "LIMIT", cause: new Error("the bank") });
    const failing = withIdempotency(() => Promise.reject(failure), {
      store: ledger.store,
      operation: "pay",
      onError: "store",
    });
    await failing(undefined, { key: "error" }).catch(() => {});
    await withIdempotency(async () => () => {}, { store: ledger.store, operation: "pay" })(undefined, {
      key: "tombstone",
    });
    const codec = { encode: () => Uint8Array.of(0xff, 0xfe), decode: () => "mine" };
    await withIdempotency(async () => "mine", { store: ledger.store, operation: "pay", codec })(undefined, {
      key: "foreign",
    });
    const outcomeOf = async (key: string) => {
      const argv = ["show", "--operation", "pay", "--key", key, "--outcome"];
      const shown = (await executions(...argv, "--json")).json<{ execution: { outcome: unknown } }>();
      return { text: (await executions(...argv)).stdout.split("\n\n")[1], json: shown.execution.outcome };
    };
    expect(await outcomeOf("value")).toEqual({
      text: "{ receipt: 'r\\x1B[31m\\x9B1', at: 1970-01-01T00:00:00.000Z, large: 100000000000000000000n }\n",
      json: {
        ...{ kind: "value", sizeBytes: expect.any(Number), form: "value" },
        value: { receipt: value.receipt, at: { $date: 0 }, large: { $bigint: "100000000000000000000" } },
      },
    });
    expect(await outcomeOf("error")).toMatchObject({
      text: "RangeError: too much (code LIMIT)\n  by Error: the bank\n",
      json: { kind: "error", form: "error", error: { $error: { name: "RangeError", code: "LIMIT" } } },
    });
    expect(await outcomeOf("tombstone")).toMatchObject({
      text: expect.stringContaining("RESULT_NOT_REPLAYABLE"),
      json: { kind: "tombstone", form: "tombstone" },
    });
    expect(await outcomeOf("foreign")).toMatchObject({
      text: expect.stringContaining("2 bytes"),
      json: { form: "foreign", base64: "//4=" },
    });
  });

  it("ends with 1 for an outcome that is not what was stored", async () => {
    const { token } = await claim(ledger.store, { id: idOf("cc") });
    const outcome = { kind: "value" as const, bytes: Uint8Array.from({ length: 40 }, () => 1) };
    const holder = { id: idOf("cc"), token, nonce: `nonce of ${idOf("cc")}` };
    await ledger.store.executions.complete({ ...holder, outcome, retentionMs: 60_000 }, CALL);
    expect(await executions("show", idOf("cc"))).toMatchObject({ status: 0 });
    const broken = await executions("show", idOf("cc"), "--outcome");
    expect(broken).toMatchObject({ status: 1, stdout: "", stderr: expect.stringMatching(/^evenkeel: [^\n]+\n$/) });
  });
});
