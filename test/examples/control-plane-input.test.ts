import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join, relative } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sqliteStore } from "../../adapters/stores/sqlite.ts";
import { ledgerIdOf } from "../../examples/control-plane/ledger-id.ts";
import { settingsOf } from "../../examples/control-plane/settings.ts";
import { thingsToTry } from "../../examples/control-plane/things-to-try.ts";
import { takeFolder } from "../../examples/control-plane/workers-folder.ts";
import type { LedgerStore } from "../../src/store.ts";
import { newFolder } from "../support/run-folder.ts";
import { openDatabase } from "../support/sqlite-files.ts";
import { CWD, TEST_PATIENCE_MS } from "./control-plane-copies.ts";

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(program: string, ...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      ["--import", "tsx", program, ...args],
      { cwd: CWD, timeout: TEST_PATIENCE_MS },
      (_error, stdout, stderr) => resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

/** What the settings are refused with. */
function refusal(...args: string[]): string {
  try {
    settingsOf(args);
  } catch (error) {
    return (error as Error).message;
  }
  return "";
}

describe("what examples/control-plane is given", { timeout: TEST_PATIENCE_MS }, () => {
  let folder: string;
  const database = (): string => `sqlite:${join(folder, "ledger.db")}`;

  beforeAll(async () => {
    folder = await newFolder("control-plane-input");
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** One line that says what is wrong, exit code 2, and no worker. */
  async function expectRefused(says: RegExp, ...args: string[]): Promise<void> {
    const ended = await run("server.ts", ...args);
    expect(ended).toEqual({ code: 2, stdout: "", stderr: expect.stringMatching(/^[^\n]+\n$/) });
    expect(ended.stderr).toMatch(says);
  }

  it("is refused in one line, where the settings can't be meant", async () => {
    await expectRefused(/--desierd/, "--desierd", "5");
  });

  it("is refused in one line, where the store is of an unknown URL", async () => {
    await expectRefused(/mysql/, "--store", "mysql://root:secret@localhost/x", "--workers", join(folder, "none"));
    expect(existsSync(join(folder, "none", "log.jsonl"))).toBe(false);
  });

  it("is refused in one line, where the port is another program's", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    try {
      await expectRefused(new RegExp(`${port}`), "--store", database(), "--port", `${port}`);
    } finally {
      server.close();
    }
    expect(existsSync(join(folder, "ledger.db.workers", "log.jsonl"))).toBe(false);
  });

  it("is refused in one line, where the file is no ledger", async () => {
    const file = join(folder, "letter.db");
    writeFileSync(file, "Dear Sir or Madam, ".repeat(100));
    await expectRefused(/is not a SQLite database/, "--store", `sqlite:${file}`, "--port", "0");
  });

  it("is refused in one line, where the ledger is of a newer format", async () => {
    const file = join(folder, "newer.db");
    const store = sqliteStore(file);
    await store.migrate();
    await store.close();
    const handle = openDatabase(file);
    handle.exec("UPDATE evenkeel_schema SET version = 99");
    handle.close();
    await expectRefused(/newer/, "--store", `sqlite:${file}`, "--port", "0");
  });

  it("is refused in one line, where nobody listens for the engine", async () => {
    await expectRefused(/^(?!.*secret)/, "--store", "redis://:secret@127.0.0.1:1", "--port", "0");
  });

  it("is refused in one line, where the folder of workers can't be one", async () => {
    const file = join(folder, "no-folder");
    writeFileSync(file, "");
    await expectRefused(/^--workers: .*no-folder can't be /, "--store", database(), "--port", "0", "--workers", file);
    // Nor a group's in it.
    const workers = join(folder, "half-a-folder");
    mkdirSync(workers);
    writeFileSync(join(workers, "worker"), "");
    await expectRefused(/^--workers: .*half-a-folder/, "--store", database(), "--port", "0", "--workers", workers);
  });

  it("is refused in one line, where the folder of workers is another ledger's", async () => {
    const workers = join(folder, "taken");
    takeFolder(workers, { ledger: "another", groups: ["worker"] });
    await expectRefused(
      /^--workers: .*taken .* another ledger/,
      "--store",
      database(),
      "--port",
      "0",
      "--workers",
      workers,
    );
    expect(existsSync(join(workers, "log.jsonl"))).toBe(false);
  });

  it("is of one ledger, whichever copy asks first, and of another one under another prefix", async () => {
    const file = join(folder, "shared.db");
    const stores = [{}, {}, {}, { tablePrefix: "other_" }].map((options) => sqliteStore(file, options));
    const [first, second, third, other] = await Promise.all(stores.map(ledgerIdOf));
    expect([second, third, await ledgerIdOf(stores[0] as LedgerStore)]).toEqual([first, first, first]);
    expect(other).not.toBe(first);
    await Promise.all(stores.map((store) => store.close()));
  });

  it("is refused in one line, where a test of a server that runs finds none", async () => {
    const nobody = await run("test-remote.ts", "http://127.0.0.1:1");
    expect(nobody).toEqual({ code: 2, stdout: "", stderr: "No control plane answers at http://127.0.0.1:1.\n" });
  });

  it.each([
    ["--port", "http"],
    ["--port", "65536"],
    ["--desired", "-1"],
    ["--desired", "1e3"],
    ["--desired", "100000"],
    ["--lease-ms", "0"],
    ["--stale-ms", "1.5"],
    ["--orphan-ms", ""],
    ["--groups", "worker,"],
    ["--groups", "../etc"],
    ["--groups", "servers.json"],
    ["--name", "a/b"],
  ])("is no number or name: %s=%s", (option, value) => {
    expect(refusal(`${option}=${value}`)).toMatch(new RegExp(`^${option}.*[.]$`));
  });

  it("has a default for all of it", () => {
    expect(settingsOf([])).toEqual({
      store: "sqlite:control-plane.db",
      prefix: undefined,
      port: 3_000,
      host: "127.0.0.1",
      desired: 10,
      groups: ["worker"],
      workers: join(process.cwd(), "control-plane.db.workers"),
      leaseMs: 15_000,
      staleMs: 30_000,
      orphanMs: 30_000,
      name: expect.stringContaining(`${process.pid}`),
      actions: false,
    });
    expect(settingsOf(["--store", "redis://db"]).workers).toBe(join(process.cwd(), "control-plane.workers"));
    expect(refusal("worker")).not.toBe("");
  });

  it("is shown what to try with as many workers as it has", () => {
    const lines = (desired: number) => thingsToTry("http://here", "worker", desired).map(({ command }) => command);
    const [lower, kill, freeze, raise] = lines(3) as [string, string, string, string];
    expect([lower, raise].map((line) => /\{"desired":(\d+)\}/.exec(line)?.[1])).toEqual(["1", "3"]);
    expect([kill, freeze].map((line) => /worker-\d+/.exec(line)?.[0])).toEqual(["worker-0", "worker-0"]);
    expect(lines(10)[1]).toContain("/resources/worker-3 ");
    expect(lines(1)).toEqual([expect.stringContaining('{"desired":10}')]);
    // Two that are sent within a second are two requests.
    const keys = lines(10).map((line) => /Idempotency-Key: ([^"]*)/.exec(line)?.[1]);
    expect(keys[0]).not.toBe(keys[3]);
  });

  it("has a folder of workers for each prefix", () => {
    const folderOf = (...args: string[]) => relative(process.cwd(), settingsOf(args).workers);
    expect(folderOf("--prefix", "a")).toBe("control-plane.db.a.workers");
    expect(folderOf("--store", "redis://db", "--prefix", "a")).toBe("control-plane.a.workers");
    expect(folderOf("--store", "redis://db", "--prefix", "../b:")).toBe("control-plane...%2Fb%3A.workers");
    expect(folderOf("--prefix", "a", "--workers", "mine")).toBe("mine");
  });
});
