import { ManualClock } from "evenkeel/testing";
import { beforeAll, describe, expect, it } from "vitest";
import { doctor } from "../../../adapters/cli/doctor.ts";
import { sqliteStore } from "../../../adapters/stores/sqlite.ts";
import { openDatabase } from "../../support/sqlite-files.ts";
import { run as runCommand } from "./cli-kit.ts";
import { claim, fileOf, idOf, newSqliteUrl } from "./ledger-kit.ts";

const run = (argv: readonly string[]) => runCommand(["doctor", ...argv], { commands: [doctor] });

const HALF_A_DAY_MS = 43_200_000;
/** What depends on where the tests run. */
const OF_THIS_MACHINE = ["sqlite-version", "sqlite-file-system", "sqlite-disk-space"];

interface Told {
  readonly engine: string;
  readonly findings: {
    readonly id: string;
    readonly severity: string;
    readonly what: string;
    readonly change: string;
  }[];
  readonly unknown: { readonly id: string; readonly why: string }[];
  readonly fine: string[];
}

describe("evenkeel doctor", () => {
  let healthy: string;
  let sick: string;

  beforeAll(async () => {
    healthy = await newSqliteUrl();
    await sqliteStore(fileOf(healthy)).migrate();
    sick = await newSqliteUrl();
    const store = sqliteStore(fileOf(sick), { clock: new ManualClock(Date.now() - HALF_A_DAY_MS) });
    await claim(store, { id: idOf("a"), operation: "pay\u202e\u200b\\u202e", key: "order-17" });
    await store.close();
    const file = openDatabase(fileOf(sick));
    file.exec('DROP INDEX "evenkeel_executions_by_expiry"');
    file.close();
  });

  it("ends with 0 where nothing but hints was found, and says how much it looked at", async () => {
    const { status, json } = await run(["--store", healthy, "--json"]);
    const grave = json<Told>().findings.filter(({ severity }) => severity !== "hint");
    expect(grave.filter(({ id }) => !OF_THIS_MACHINE.includes(id))).toEqual([]);
    expect(status).toBe(grave.length === 0 ? 0 : 1);
    expect((await run(["--store", healthy])).stdout).toMatch(/\d+ checks found nothing\n$/);
  });

  it("ends with 1 where it found something, and says of each what it is, its name and what to change", async () => {
    const { status, stdout, stderr } = await run(["--store", sick]);
    expect({ status, stderr }).toEqual({ status: 1, stderr: "" });
    expect(stdout).toMatch(
      /^warning {2}sqlite-indexes {2}evenkeel_executions_by_expiry\n {9}the index .* is missing\.\n {9}To change it: run `CREATE INDEX/m,
    );
    expect(stdout).toMatch(/^warning {2}executions-abandoned$/m);
    expect(stdout).toMatch(/\d warnings.*checks found nothing\n$/);
  });

  it("lets neither keys out, nor what a terminal would act upon", async () => {
    const { stdout } = await run(["--store", sick]);
    // What was written out passes for nothing that somebody wrote so.
    expect(stdout).toContain("pay\\u202e\\u200b\\\\u202e");
    expect(stdout).not.toMatch(/\u202e|\u200b|order-17/);
  });

  it("tells programs the same, the worst first", async () => {
    const { status, json } = await run(["--store", sick, "--json"]);
    const told = json<Told>();
    expect(status).toBe(1);
    expect(told.engine).toBe("sqlite");
    const names = told.findings.map(({ severity, id }) => `${severity} ${id}`);
    expect(names).toEqual(expect.arrayContaining(["warning sqlite-indexes", "warning executions-abandoned"]));
    const order = ["error", "warning", "hint"];
    const ranks = told.findings.map(({ severity }) => order.indexOf(severity));
    expect(ranks).toEqual(ranks.toSorted());
    expect(told.fine).toContain("sqlite-integrity");
    for (const { what, change } of told.findings) expect([what, change].every((text) => text.length > 10)).toBe(true);
  });

  it("takes limits", async () => {
    const url = await newSqliteUrl();
    const store = sqliteStore(fileOf(url));
    const hour = 3_600_000;
    await claim(store, { id: idOf("b"), operation: "import", leaseMs: hour });
    await store.close();
    const of = async (limit: string) => (await run(["--store", url, "--stuck-after", limit, "--json"])).json<Told>();
    expect((await of("1h")).fine).toContain("executions-stuck");
    expect((await of("0ms")).findings.map(({ id }) => id)).toContain("executions-stuck");
  });

  it("refuses a ledger that it can't open, in one line", async () => {
    const { status, stdout, stderr } = await run(["--store", "sqlite:/nowhere/ledger.db"]);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toMatch(/^evenkeel: there is no file \/nowhere\/ledger\.db\n$/);
  });
});
