import { execFile } from "node:child_process";
import { readdirSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import type { EvenkeelError } from "evenkeel";
import { type OpenStoreOptions, openStore } from "evenkeel/open";
import { sqliteStore } from "evenkeel/sqlite";
import { beforeEach, describe, expect, it } from "vitest";
import { databaseUrl, describePostgres, describeRedis, redisUrl } from "../../support/engines.ts";
import { newFolder } from "../../support/run-folder.ts";
import { openDatabase } from "../../support/sqlite-files.ts";
import { until } from "../../support/until.ts";

const CALL = { timeoutMs: 20_000 };
const PASSWORD = "correct-horse";

let folder: string;
beforeEach(async () => {
  folder = await newFolder("open-store");
});

/** What opening is refused with. */
async function refusal(url: string, options: OpenStoreOptions = {}): Promise<EvenkeelError> {
  const opened = await openStore(url, options).catch((error: EvenkeelError) => error);
  if ("engine" in opened) {
    await opened.close();
    throw new Error("it was opened");
  }
  return opened;
}

/** A ledger that was opened keeps a record for whoever opens it next, and is closed with all that it opened. */
async function keepsRecords(url: string): Promise<void> {
  const id = "a".repeat(64);
  const claim = { id, operation: "open", scope: "", nonce: "n", leaseMs: 1_000, retentionMs: 60_000 };
  const first = await openStore(url);
  await first.executions.claim({ ...claim, onAbandoned: "takeover" }, CALL);
  await first.close();
  await expect(first.executions.get(id, CALL)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  const second = await openStore(url, { ledger: "existing" });
  expect(await second.executions.get(id, CALL)).toMatchObject({ operation: "open" });
  await second.close();
}

describe("openStore", () => {
  it.each([
    ["", "a URL without a scheme"],
    ["ledger.db", "a URL without a scheme"],
    [`mysql://root:${PASSWORD}@host/db`, "scheme mysql:"],
    ["sqlite:", "scheme sqlite:"],
    ["redis:6379", "scheme redis:"],
    ["postgres:", "scheme postgres:"],
    ["memory:shared", "scheme memory:"],
  ])("refuses %j, and says which there are", async (url, found) => {
    const { code, message } = await refusal(url);
    expect(code).toBe("INVALID_OPTIONS");
    expect(message).toContain(found);
    expect(message).toContain("sqlite:FILE");
    expect(message).not.toContain(PASSWORD);
  });

  it("refuses options that it doesn't know", async () => {
    const error = await refusal("memory:", { migrate: false } as OpenStoreOptions);
    expect(error).toMatchObject({ code: "INVALID_OPTIONS", message: expect.stringContaining("migrate") });
  });

  it("opens a ledger of this process", async () => {
    const store = await openStore("memory:");
    expect(store.engine).toBe("memory");
    await store.close();
  });

  it("keeps what is in a SQLite file, by a relative and an absolute path", async () => {
    await keepsRecords(`sqlite:${join(folder, "ledger.db")}`);
    await keepsRecords(`sqlite://${join(folder, "other.db")}`);
    expect(readdirSync(folder)).toEqual(expect.arrayContaining(["ledger.db", "other.db"]));
  });

  it("makes no file of a path that was mistyped", async () => {
    const error = await refusal(`sqlite:${join(folder, "lodger.db")}`, { ledger: "existing" });
    expect(error).toMatchObject({ code: "STORE_MISCONFIGURED", message: expect.stringContaining("lodger.db") });
    expect(readdirSync(folder)).toEqual([]);
  });

  it("refuses a file that is no database, and leaves it as it is", async () => {
    const path = join(folder, "notes.txt");
    writeFileSync(path, "not a database, and long enough to be sure of it\n".repeat(50));
    expect(await refusal(`sqlite:${path}`)).toMatchObject({ code: "STORE_MISCONFIGURED" });
    expect(readdirSync(folder)).toEqual(["notes.txt"]);
  });

  it("refuses a database without a ledger where there has to be one", async () => {
    const path = join(folder, "empty.db");
    writeFileSync(path, "");
    const error = await refusal(`sqlite:${path}`, { ledger: "existing" });
    expect(error).toMatchObject({ code: "STORE_MISCONFIGURED", message: expect.stringContaining("holds no ledger") });
    expect(statSync(path).size).toBe(0);
  });

  it("refuses a ledger of a newer format", async () => {
    const path = join(folder, "newer.db");
    const store = sqliteStore(path);
    await store.migrate();
    await store.close();
    const handle = openDatabase(path);
    handle.exec("UPDATE evenkeel_schema SET version = 99");
    handle.close();
    const error = await refusal(`sqlite:${path}`);
    expect(error).toMatchObject({ code: "STORE_MISCONFIGURED", message: expect.stringContaining("newer") });
  });

  it.each(["redis", "postgres", "REDIS", "Postgres"])(
    "says that nobody listens for %s, without the password",
    async (scheme) => {
      const server = createServer().listen(0, "127.0.0.1");
      await new Promise((resolve) => server.once("listening", resolve));
      const { port } = server.address() as { port: number };
      await new Promise((resolve) => server.close(resolve));
      // A busy machine may take longer to come to that than there is time.
      await until("it says so", async () => {
        const error = await refusal(`${scheme}://user:${PASSWORD}@127.0.0.1:${port}/0`, { timeoutMs: 500 });
        expect(error.code).toBe("STORE_UNAVAILABLE");
        expect(`${error.stack}${JSON.stringify(error)}`).not.toContain(PASSWORD);
        return String((error.cause as Error)?.message).includes("ECONNREFUSED");
      });
    },
  );

  it.each(["redis", "postgres"])("gives a server up that never answers for %s", async (scheme) => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => void sockets.push(socket.resume())).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    const error = await refusal(`${scheme}://127.0.0.1:${port}/0`, { timeoutMs: 300 });
    expect(error.code).toBe("STORE_UNAVAILABLE");
    // A driver that is still connecting goes on with it for a while.
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  it("lets the process exit after a close and after a refusal", async () => {
    const script = `
      import { openStore } from "evenkeel/open";
      const store = await openStore("sqlite:${join(folder, "exit.db")}");
      await store.close();
      await openStore("redis://127.0.0.1:1", { timeoutMs: 500 }).catch((error) => console.log(error.code));
      await openStore("postgres://127.0.0.1:1/x", { timeoutMs: 500 }).catch((error) => console.log(error.code));`;
    const args = ["--input-type=module", "--eval", script];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    expect(stdout).toBe("STORE_UNAVAILABLE\nSTORE_UNAVAILABLE\n");
  });
});

describeRedis("openStore on Redis", () => {
  it("keeps what is there, under a prefix", async () => {
    await keepsRecords(redisUrl());
    const store = await openStore(redisUrl(), { prefix: "elsewhere:" });
    expect(store).toMatchObject({ engine: "redis" });
    expect(await store.executions.get("a".repeat(64), CALL)).toBeUndefined();
    await store.close();
  });
});

describePostgres("openStore on PostgreSQL", () => {
  it("keeps what is there, and makes no ledger where there has to be one", async () => {
    const url = await databaseUrl();
    expect(await refusal(url, { ledger: "existing", timeoutMs: 20_000 })).toMatchObject({
      code: "STORE_MISCONFIGURED",
      message: expect.stringContaining("holds no ledger"),
    });
    await keepsRecords(url);
    const store = await openStore(url, { prefix: "other_", timeoutMs: 20_000 });
    expect(store.engine).toBe("postgres");
    expect(await store.executions.get("a".repeat(64), CALL)).toBeUndefined();
    await store.close();
  });
});
