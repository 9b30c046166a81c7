import { execFile } from "node:child_process";
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { cp, mkdir, readdir } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { sqliteStore } from "evenkeel/sqlite";
import { beforeAll, describe, expect, it } from "vitest";
import { command } from "../../../adapters/cli/command.ts";
import { COMMANDS } from "../../../adapters/cli/commands.ts";
import { newFolder } from "../../support/run-folder.ts";
import { openDatabase } from "../../support/sqlite-files.ts";
import { BUILT, type Ran, run, runBuilt } from "./cli-kit.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const PASSWORD = "correct-horse";
const LIST = ["executions", "list"];

/** One clear line on stderr, nothing on stdout, and 2. */
function expectRefusal(ran: Ran, told: string | RegExp): void {
  expect(ran.stdout).toBe("");
  expect(ran.stderr).toMatch(/^evenkeel: [^\n]+\n$/);
  expect(ran.stderr).toMatch(told);
  expect(ran.stderr).not.toMatch(/\bat .+:\d+|correct-horse|Error:/);
  expect(ran.status).toBe(2);
}

let folder: string;
let ledger: string;

beforeAll(async () => {
  folder = await newFolder("cli-usage");
  ledger = `sqlite:${join(folder, "ledger.db")}`;
  for (const [name, version] of [
    ["ledger.db", 1],
    ["newer.db", 99],
  ] as const) {
    const store = sqliteStore(join(folder, name));
    await store.migrate();
    await store.close();
    const handle = openDatabase(join(folder, name));
    handle.exec(`UPDATE evenkeel_schema SET version = ${version}`);
    handle.close();
  }
  writeFileSync(join(folder, "notes.txt"), "no database, and long enough to be sure of it\n".repeat(50));
  writeFileSync(join(folder, "empty.db"), "");
});

/** A port on which nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe("a command line that is wrong is refused in one line, with 2", () => {
  it.each<[string, string[], string | RegExp]>([
    ["nothing at all", [], "say a command"],
    ["a command that there isn't", ["destroy"], "there is no command destroy"],
    ["a URL before the command", [`postgres://u:${PASSWORD}@h/db`, "doctor"], "the first word is no command"],
    ["help for a URL", ["help", `postgres://u:${PASSWORD}@h/db`], "the first word is no command"],
    ["half of a command", ["executions"], "executions list, executions show"],
    ["another half", ["executions", "destroy"], "executions list, executions show"],
    ["options before the command", ["--json", "purge"], "the command comes before its options"],
    ["an option that there isn't", [...LIST, "--colour"], "unknown option '--colour'"],
    ["an option of another command", ["purge", "--reveal", "x"], "unknown option '--reveal'"],
    ["an option without its value", [...LIST, "--limit"], "--limit"],
    ["a value for what takes none", [...LIST, "--json=yes"], "--json"],
    ["a number that is none", [...LIST, "--limit", "1e3"], "--limit must be a positive whole number"],
    ["a number below one", [...LIST, "--limit", "0"], "--limit must be a positive whole number"],
    ["a duration without its unit", ["purge", "--older-than", "10"], "--older-than must be a duration such as"],
    ["no time at all", [...LIST, "--timeout", "0s"], "--timeout must be 1ms at least"],
    ["more than is listed at once", [...LIST, "--limit", "100001"], "--limit must be 100000 at most"],
    [
      "a value that passes for an option",
      ["executions", "show", "--operation", "o", "--key", "-dash"],
      /a value that begins with a dash is said as --key=VALUE; see/,
    ],
    ["a duration that is too long", ["purge", "--older-than", "999999999999d"], "--older-than must be a duration"],
    [
      "a status that there isn't",
      [...LIST, "--status", "done"],
      "--status must be one of running, abandoned, completed",
    ],
    ["a word too many", [...LIST, "more"], "there is a word too many"],
    ["a part of an id to begin after", [...LIST, "--after", "0331216d3ef5afb2"], "--after must be all 64 hex digits"],
    ["no id to begin after", [...LIST, "--after", "zz".repeat(32)], "--after must be all 64 hex digits"],
    ["two ids", ["executions", "show", "aaaaaaaa", "bbbbbbbb"], "there is a word too many"],
    ["options that don't go together", [...LIST, "--recent", "--status", "running"], "--recent goes with neither"],
    ["no record named", ["executions", "show"], "say an ID, or --operation and --key"],
    ["a record named twice", ["executions", "show", "aaaaaaaa", "--key", "k"], "say either an ID, or"],
    ["an id that is none", ["executions", "show", "order-17"], "at least the first 8"],
    ["too little of an id", ["executions", "show", "aaaaaaa"], "at least the first 8"],
    ["a key that can't be one", ["executions", "show", "--operation", "o", "--key", " "], "must not be blank"],
  ])("%s", async (_, argv, told) => {
    expectRefusal(await run([...argv, "--store", ledger].slice(0, argv.length === 0 ? 0 : undefined)), told);
  });

  it.each<[string, (urls: { folder: string }) => string, string]>([
    ["a URL of no ledger", () => `mysql://root:${PASSWORD}@localhost/db`, "scheme mysql:"],
    ["a URL without a scheme", () => "ledger.db", "a URL without a scheme"],
    ["a ledger of another process", () => "memory:", "another process's"],
    ["a file that is not there", () => `sqlite:${join(folder, "lodger.db")}`, "there is no file"],
    ["a file that is no ledger", () => `sqlite:${join(folder, "notes.txt")}`, "notes.txt|not a database"],
    ["a database without a ledger", () => `sqlite:${join(folder, "empty.db")}`, "holds no ledger"],
    ["a ledger of a newer format", () => `sqlite:${join(folder, "newer.db")}`, "newer than 1: upgrade evenkeel"],
  ])("%s", async (_, url, told) => {
    expectRefusal(await run([...LIST, "--store", url({ folder })]), new RegExp(told));
    expect(await readdir(folder)).not.toContain("lodger.db");
  });

  it("no ledger named", async () => {
    expectRefusal(await run(LIST), "executions list: say which ledger by --store URL or EVENKEEL_STORE");
  });

  it.each(["redis", "postgres"])("a server of %s that is not there, without its password", async (scheme) => {
    const url = `${scheme}://user:${PASSWORD}@127.0.0.1:${await freePort()}/0`;
    expectRefusal(await run([...LIST, "--store", url, "--timeout", "3s"]), "ECONNREFUSED");
  });
});

describe("what is asked rightly", () => {
  it("takes the ledger from EVENKEEL_STORE, and --store before it", async () => {
    expect(await run(LIST, { env: { EVENKEEL_STORE: ledger } })).toMatchObject({
      status: 0,
      stdout: "no executions\n",
    });
    const env = { EVENKEEL_STORE: "sqlite:/nowhere/at/all.db" };
    expect(await run([...LIST, "--store", ledger], { env })).toMatchObject({ status: 0 });
    expectRefusal(await run(LIST, { env }), "there is no file");
  });

  it("has help for every command, with all of its options, and needs no ledger for it", async () => {
    const overview = await run(["--help"]);
    expect(overview.status).toBe(0);
    for (const { name, summary, options } of COMMANDS) {
      expect(overview.stdout).toContain(summary);
      const help = await run([...name.split(" "), "--help"]);
      expect((await run([...name.split(" "), "-h"])).stdout).toBe(help.stdout);
      expect(help).toMatchObject({ status: 0, stderr: "" });
      for (const option of [...Object.keys(options), "store", "json"]) expect(help.stdout).toContain(`--${option}`);
      expect((await run(["help", ...name.split(" ")])).stdout).toBe(help.stdout);
    }
  });

  it("has help for what several commands begin with", async () => {
    for (const argv of [
      ["executions", "--help"],
      ["executions", "-h"],
      ["help", "executions"],
    ]) {
      const { status, stdout, stderr } = await run(argv);
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      for (const { name, summary } of COMMANDS) expect(stdout.includes(summary)).toBe(name.startsWith("executions "));
    }
    expectRefusal(await run(["help", "destroy"]), "there is no command destroy");
  });

  it("is a failure in one line when a command of ours breaks", async () => {
    const broken = command({
      ...{ name: "break", summary: "break", options: {} },
      run: async () => {
        throw new TypeError("first\n    at second");
      },
    });
    const ran = await run(["break", "--store", ledger], { commands: [broken] });
    expect(ran).toMatchObject({ status: 2, stdout: "", stderr: "evenkeel: first at second\n" });
  });
});

describe("the built command", () => {
  it("can be run as a program, and says its version", async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
    const { stdout } = await promisify(execFile)(BUILT, ["--version"]);
    expect(stdout).toBe(`${version}\n`);
  });

  it("ends with 2 and a line, or with 0 and a table", async () => {
    const insecure = `postgres://user:${PASSWORD}@127.0.0.1:${await freePort()}/db?sslmode=require`;
    const [unknown, none, missing, warned, good] = await Promise.all([
      runBuilt(["destroy"]),
      runBuilt([...LIST, "--store", `mysql://root:${PASSWORD}@localhost/db`]),
      runBuilt([...LIST, "--store", `sqlite:${join(folder, "newer.db")}`]),
      // Of which the driver warns at length.
      runBuilt([...LIST, "--store", insecure]),
      runBuilt([...LIST, "--store", ledger]),
    ]);
    expectRefusal(unknown, "there is no command destroy");
    expectRefusal(none, "scheme mysql:");
    expectRefusal(missing, "newer than 1");
    expectRefusal(warned, /ECONNREFUSED|did not answer/);
    expect(good).toMatchObject({ status: 0, stdout: "no executions\n" });
  });

  it("says which driver to install where there is none", async () => {
    const installed = join(await newFolder("cli-bare"), "node_modules");
    const copy = join(installed, "evenkeel");
    await mkdir(join(copy, "dist"), { recursive: true });
    const built = (await readdir(join(ROOT, "dist"))).filter((name) => name.endsWith(".cjs"));
    await Promise.all(built.map((name) => cp(join(ROOT, "dist", name), join(copy, "dist", name))));
    await cp(join(ROOT, "package.json"), join(copy, "package.json"));
    symlinkSync(join(ROOT, "node_modules/zod"), join(installed, "zod"));
    const cli = join(copy, "dist/cli.cjs");
    const [help, redis, postgres, sqlite] = await Promise.all([
      runBuilt(["--help"], { cli }),
      runBuilt([...LIST, "--store", "redis://127.0.0.1:1"], { cli }),
      runBuilt([...LIST, "--store", "postgres://127.0.0.1:1/x"], { cli }),
      runBuilt([...LIST, "--store", ledger], { cli }),
    ]);
    expect(help).toMatchObject({ status: 0, stderr: "" });
    expectRefusal(redis, "install redis or ioredis");
    expectRefusal(postgres, /\bpg\b/);
    // From version 22.13 on Node has a driver of its own.
    if (process.getBuiltinModule?.("node:sqlite") === undefined) expectRefusal(sqlite, "better-sqlite3");
    else expect(sqlite).toMatchObject({ status: 0, stdout: "no executions\n" });
  });
});
