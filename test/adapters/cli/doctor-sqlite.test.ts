import {
  chmodSync,
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Examination } from "../../../adapters/cli/doctor-check.ts";
import { kindOfFileSystem } from "../../../adapters/cli/doctor-file-systems.ts";
import { sqliteStore } from "../../../adapters/stores/sqlite.ts";
import { withIdempotency } from "../../../src/index.ts";
import { newFolder } from "../../support/run-folder.ts";
import { openDatabase, useTemporaryFolder } from "../../support/sqlite-files.ts";
import { runBuilt } from "./cli-kit.ts";
import { examined, refusal } from "./doctor-examination.ts";
import { CALL } from "./ledger-kit.ts";

describe("evenkeel doctor of a SQLite file", () => {
  const { folder } = useTemporaryFolder();

  /** A ledger with a few records. */
  async function ledger(path = folder.file("ledger.db")): Promise<{ path: string; url: string }> {
    const store = sqliteStore(path);
    const pay = withIdempotency((n: number) => "x".repeat(n), { store, operation: "pay" });
    for (let key = 0; key < 20; key += 1) await pay(2_000, { key: `key-${key}` });
    await store.close();
    chmodSync(path, 0o600);
    return { path, url: `sqlite:${path}` };
  }

  it("finds nothing on a healthy one, and has made every check", async () => {
    const { url } = await ledger();
    const examination = await examined(url, { limits: { freeDiskBytes: 1 } });
    // On a disk that the platform tells nothing of it says so.
    const findings = examination.findings.filter(({ id }) => !["sqlite-file-system", "sqlite-version"].includes(id));
    expect(findings).toEqual([]);
    for (const id of [
      "integrity",
      "journal-mode",
      "indexes",
      "wal-size",
      "disk-space",
      "permissions",
      "read-only",
      "synchronous",
    ]) {
      expect(examination.fine).toContain(`sqlite-${id}`);
    }
    expect(examination.fine).toEqual(expect.arrayContaining(["executions-unreadable", "executions-abandoned"]));
  });

  it("finds a damaged page, and a file that can't be opened for it", async () => {
    const { path, url } = await ledger();
    // The pages behind the first: tables and indexes, not the schema.
    const file = openSync(path, "r+");
    for (let page = 2; page < 12; page += 1) writeSync(file, Buffer.alloc(2_000, 0xa5), 0, 2_000, page * 4_096);
    closeSync(file);
    const { findings, of } = await examined(url);
    expect(of("sqlite-integrity")).toMatchObject([{ severity: "error", what: expect.stringMatching(/is damaged/) }]);
    expect(findings[0]?.change).toMatch(/restore a backup/);
  });

  it("finds a journal that is no log, and leaves it as it is", async () => {
    const { path, url } = await ledger();
    const other = openDatabase(path);
    other.exec("PRAGMA journal_mode = DELETE");
    other.close();
    const before = readFileSync(path);
    expect((await examined(url)).of("sqlite-journal-mode")).toMatchObject([{ severity: "warning" }]);
    expect(readFileSync(path).equals(before)).toBe(true);
    expect((await examined(url)).of("sqlite-journal-mode")).toMatchObject([{ severity: "warning" }]);
  });

  it("finds a missing index and a missing table, and the statement that makes the index", async () => {
    const { path, url } = await ledger();
    const other = openDatabase(path);
    other.exec('DROP INDEX "evenkeel_executions_by_expiry"');
    const [index] = (await examined(url)).of("sqlite-indexes");
    expect(index).toMatchObject({ severity: "warning", subject: "evenkeel_executions_by_expiry" });
    other.exec(/`(.*)`/.exec(index?.change ?? "")?.[1] ?? "");
    expect((await examined(url)).isFine("sqlite-indexes")).toBe(true);
    other.exec('DROP TABLE "evenkeel_fences"');
    expect((await examined(url)).of("sqlite-indexes")).toMatchObject([{ severity: "error" }]);
    other.close();
  });

  it("finds a log that a reader keeps from being taken in", async () => {
    const { path, url } = await ledger();
    const limits = { walBytes: 500_000 };
    const reader = openDatabase(path);
    reader.exec("BEGIN");
    reader.prepare("SELECT count(*) FROM evenkeel_executions").get();
    const store = sqliteStore(path);
    const pay = withIdempotency((n: number) => "x".repeat(n), { store, operation: "pay" });
    await Promise.all(Array.from({ length: 100 }, (_, key) => pay(10_000, { key: `more-${key}` })));
    expect((await examined(url, { limits })).of("sqlite-wal-size")).toMatchObject([{ severity: "warning" }]);
    reader.exec("COMMIT");
    reader.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get();
    expect((await examined(url, { limits })).isFine("sqlite-wal-size")).toBe(true);
    reader.close();
    await store.close();
  });

  it("finds too little free space on the disk", async () => {
    const { path, url } = await ledger();
    const { bavail, bsize } = statfsSync(path);
    const free = bavail * bsize;
    const of = async (freeDiskBytes: number) =>
      (await examined(url, { limits: { freeDiskBytes } })).of("sqlite-disk-space");
    expect(await of(free * 2)).toMatchObject([{ severity: "warning" }]);
    expect(await of(free * 100)).toMatchObject([{ severity: "error" }]);
    expect(await of(1)).toEqual([]);
  });

  it.skipIf(process.platform !== "linux" || statfsSync("/dev/shm").type !== 0x01021994)(
    "finds a ledger in memory that passes for a disk",
    async () => {
      const memory = mkdtempSync("/dev/shm/evenkeel-");
      try {
        const { url } = await ledger(join(memory, "ledger.db"));
        expect((await examined(url)).of("sqlite-file-system")).toMatchObject([
          { severity: "warning", what: expect.stringMatching(/in memory \(tmpfs\)/) },
        ]);
      } finally {
        rmSync(memory, { recursive: true });
      }
    },
  );

  it.each([
    [0x6969, "network", "NFS"],
    [0xff534d42, "network", "CIFS"],
    [0xff534d42 | 0, "network", "CIFS"],
    [0x794c7630, "layer", "overlayfs"],
    [0xef53, "local", "ext4"],
  ])("knows the file system of the number %s", (type, kind, name) => {
    expect(kindOfFileSystem(type)).toEqual({ kind, name });
  });

  it("does not call a file system fine that it does not know", () => {
    expect(kindOfFileSystem(0x65735546)).toEqual({ kind: "unknown", type: 0x65735546 });
  });

  it.skipIf(process.platform === "win32")("finds a file that others can write or read", async () => {
    const { path, url } = await ledger();
    chmodSync(path, 0o666);
    expect((await examined(url)).of("sqlite-permissions")).toMatchObject([{ severity: "warning" }]);
    chmodSync(path, 0o600);
    expect((await examined(url)).isFine("sqlite-permissions")).toBe(true);
  });

  it.skipIf(process.platform === "win32")("finds a file that its user can't write to", async () => {
    const closed = await newFolder("read-only");
    chmodSync(closed, 0o755);
    const path = join(closed, "ledger.db");
    const { url } = await ledger(path);
    chmodSync(path, 0o444);
    // Root can write to everything.
    const uid = process.getuid?.() === 0 ? { uid: 65_534 } : {};
    const { status, stderr, json } = await runBuilt(["doctor", "--store", url, "--wait", "1ms", "--json"], uid);
    expect({ status, stderr }).toEqual({ status: 1, stderr: "" });
    expect(json<Examination>().findings).toContainEqual(
      expect.objectContaining({
        id: "sqlite-read-only",
        severity: "error",
        what: expect.stringContaining("ledger.db"),
      }),
    );
  });

  it("finds records that lists leave out, and names no key", async () => {
    const { path, url } = await ledger();
    const other = openDatabase(path);
    other.exec("UPDATE evenkeel_executions SET status = 'banana' WHERE key = 'key-7'");
    other.exec("UPDATE evenkeel_executions SET attempt = 0 WHERE key = 'key-8'");
    other.close();
    const [finding] = (await examined(url)).of("executions-unreadable");
    expect(finding).toMatchObject({ severity: "error", what: expect.stringMatching(/^2 records/) });
    expect(JSON.stringify(finding)).not.toContain("key-");
  });

  it("finds leases that nobody can take any more", async () => {
    const { path, url } = await ledger();
    const store = sqliteStore(path);
    for (const name of ["sound", "broken", "huge"]) {
      await store.leases.acquire({ name, holder: "node-1", nonce: name, durationMs: 1_000 }, CALL);
    }
    await store.close();
    expect((await examined(url)).isFine("leases-unreadable")).toBe(true);
    const other = openDatabase(path);
    other.exec("UPDATE evenkeel_leases SET epoch = 'abc' WHERE name = 'broken'");
    other.exec("UPDATE evenkeel_leases SET renewals = 9007199254740993 WHERE name = 'huge'");
    other.close();
    expect((await examined(url)).of("leases-unreadable")).toMatchObject([
      { severity: "error", subject: "broken", what: expect.stringMatching(/can't be read/) },
      { severity: "error", subject: "huge" },
    ]);
  });

  it("makes no file of a path that was mistyped, and refuses one that is no ledger", async () => {
    expect(await refusal(`sqlite:${folder.file("none.db")}`)).toMatch(/there is no file/);
    writeFileSync(folder.file("text.db"), "Dear diary, ".repeat(1_000));
    expect(await refusal(`sqlite:${folder.file("text.db")}`)).toMatch(/not a SQLite database/);
    openDatabase(folder.file("other.db")).exec("CREATE TABLE t (a)");
    expect(await refusal(`sqlite:${folder.file("other.db")}`)).toMatch(/holds no ledger/);
  });

  it("refuses a ledger of a newer format", async () => {
    const { path, url } = await ledger();
    const other = openDatabase(path);
    other.exec("UPDATE evenkeel_schema SET version = 9");
    expect(await refusal(url)).toMatch(/newer than 1: upgrade evenkeel/);
    // What this version would miss in it, a newer one may have done away with.
    other.exec("DROP TABLE evenkeel_fences");
    other.close();
    expect(await refusal(url)).toMatch(/newer than 1: upgrade evenkeel/);
  });
});
