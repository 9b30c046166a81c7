import { withIdempotency } from "evenkeel";
import { describe, expect, it } from "vitest";
import { recordId } from "../../../src/idempotency/key.ts";
import { claim, idOf, useLedger } from "./ledger-kit.ts";

const KEY = "order-17-of-jane";
const SCOPE = "tenant-jane";

const ledger = useLedger("executions");
const executions = ledger.run;

describe("keys and scopes", () => {
  it("are shown by no command that doesn't name the record to be revealed", async () => {
    const pay = withIdempotency(async () => 1, { store: ledger.store, operation: "pay", leaseMs: 1_000 });
    await pay(undefined, { key: `${KEY}-done`, scope: SCOPE });
    const id = recordId("pay", SCOPE, KEY);
    await claim(ledger.store, { id, scope: SCOPE, key: KEY });
    const named = ["--operation", "pay", "--scope", SCOPE, "--key", KEY];
    const all = [
      await executions("list"),
      await executions("list", "--json"),
      await executions("list", "--recent"),
      await executions("list", "--reveal", idOf("dddddddd")),
      await executions("show", id),
      await executions("show", id, "--json", "--outcome"),
      await executions("show", ...named),
      await executions("release", ...named),
      await executions("complete", ...named, "--value", "1"),
      await executions("release", ...named, "--yes"),
      await executions("complete", ...named, "--value", "1", "--yes"),
      await executions("release", ...named, "--yes"),
    ];
    for (const { stdout, stderr } of all) expect(stdout + stderr).not.toContain("jane");
    expect(all.map(({ status }) => status)).toEqual([0, 0, 0, 1, 0, 0, 0, 2, 2, 0, 0, 1]);
  });

  it("are shown of the one that is named", async () => {
    const id = recordId("pay", SCOPE, KEY);
    await claim(ledger.store, { id, scope: SCOPE, key: KEY });
    await claim(ledger.store, { id: idOf("dd"), scope: "tenant-john", key: "order-of-john" });
    for (const argv of [
      ["list", "--reveal", id.slice(0, 8)],
      ["show", id, "--reveal"],
    ]) {
      const people = await executions(...argv);
      const programs = await executions(...argv, "--json");
      for (const { stdout } of [people, programs]) {
        expect(stdout).toContain(KEY);
        expect(stdout).toContain(SCOPE);
        expect(stdout).not.toContain("john");
      }
    }
  });

  it("can't be shown of one that is not listed, and the status says so", async () => {
    await claim(ledger.store, { id: idOf("dd"), key: "order-of-john" });
    for (const argv of [["list"], ["list", "--json"]]) {
      const ran = await executions(...argv, "--reveal", idOf("ee"));
      expect(ran).toMatchObject({ status: 1, stderr: "--reveal names none of these\n" });
      expect(ran.stdout).toContain("dd00");
    }
  });

  it("are said not to be there where the ledger keeps none", async () => {
    await claim(ledger.store, { id: idOf("dd") });
    expect((await executions("show", idOf("dd"), "--reveal")).stdout).toMatch(/^key +not kept$/m);
    expect((await executions("show", idOf("dd"), "--reveal", "--json")).json()).toMatchObject({
      execution: { scope: "", key: null },
    });
  });
});

describe("what a ledger holds", () => {
  it("moves no cursor and changes no colour", async () => {
    const nasty = "\u001b[2J\u009b31m\u202e\u0007";
    const id = idOf("ee");
    // Only a ledger that somebody else has written to holds such texts.
    await claim(ledger.store, { id, operation: `pay${nasty}`, scope: `s${nasty}`, key: `k${nasty}` });
    const all = [
      await executions("list", "--reveal", id),
      await executions("list", "--json", "--reveal", id),
      await executions("show", id, "--reveal"),
      await executions("release", id),
      await executions("release", id, "--yes"),
    ];
    for (const { stdout, stderr } of all) {
      expect(stdout + stderr).toContain("pay\\");
      expect(stdout + stderr).not.toMatch(/(?!\n)[\p{Cc}\p{Cf}]/u);
    }
  });
});
