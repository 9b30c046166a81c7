import { openStore } from "evenkeel/open";
import { sqliteStore } from "evenkeel/sqlite";
import { beforeEach, describe, expect, it } from "vitest";
import { EXIT } from "../../../adapters/cli/exit-status.ts";
import { Interruption } from "../../../adapters/cli/io.ts";
import type { LedgerStore } from "../../../src/store.ts";
import { until } from "../../support/until.ts";
import { run, start } from "./cli-kit.ts";
import { CALL, claim, clockBehind, fileOf, idOf, newSqliteUrl, terminated } from "./ledger-kit.ts";

const DAY_MS = 86_400_000;

let url: string;

beforeEach(async () => {
  url = await newSqliteUrl();
});

/** Opens the ledger as it was a day ago, so that what is written then is old now. */
async function yesterday(write: (store: LedgerStore) => Promise<void>): Promise<void> {
  const store = sqliteStore(fileOf(url), { clock: clockBehind(DAY_MS) });
  await write(store);
  await store.close();
}

/** So many executions that have expired, and one that has not. */
function expired(count: number): Promise<void> {
  return yesterday(async (store) => {
    const ids = Array.from({ length: count }, (_, at) => idOf(String(10_000 + at)));
    await Promise.all(ids.map((id) => claim(store, { id, leaseMs: 60_000, retentionMs: 60_000 })));
    await claim(store, { id: idOf("ff"), leaseMs: 60_000, retentionMs: 7 * DAY_MS });
  });
}

async function left(): Promise<{ expired: number; present: number; rows: number }> {
  const store = await openStore(url);
  const { count } = await store.executions.countExpired(CALL);
  const present = (await store.executions.list({ limit: 10 }, CALL)).length;
  const rows = (await store.resources.list({ group: "workers", limit: 100 }, CALL)).length;
  await store.close();
  return { expired: count, present, rows };
}

describe("purge", () => {
  it("deletes in batches what has expired and what was terminated long enough ago, and nothing else", async () => {
    await expired(25);
    await yesterday(async (store) => {
      await terminated(store, "workers", ["a", "b", "c"]);
      await terminated(store, "volumes", ["d"]);
    });
    const now = await openStore(url);
    await terminated(now, "workers", ["young"]);
    await now.close();

    const purged = await run(["purge", "--store", url, "--batch", "10", "--json"]);
    expect(purged).toMatchObject({ status: 0, stderr: "" });
    expect(purged.json()).toEqual({ executions: 25, resources: 4, interrupted: false });
    expect(await left()).toEqual({ expired: 0, present: 1, rows: 1 });
    const again = await run(["purge", "--store", url]);
    expect(again.stdout).toBe("deleted 0 expired executions and 0 resources terminated at least 1 h ago\n");
  });

  it("takes no step that would keep others waiting for long", async () => {
    const { status, stderr } = await run(["purge", "--store", url, "--batch", "10001"]);
    expect([status, stderr]).toEqual([2, "evenkeel: --batch must be 10000 at most\n"]);
  });

  it("leaves what was terminated later than said, and other groups and executions where one group is named", async () => {
    await expired(2);
    await yesterday(async (store) => {
      await terminated(store, "workers", ["a", "b"]);
      await terminated(store, "volumes", ["c"]);
    });
    const younger = await run(["purge", "--store", url, "--group", "workers", "--older-than", "25h"]);
    expect(younger.stdout).toBe("deleted 0 resources terminated at least 1 d 1 h ago\n");
    const other = await run(["purge", "--store", url, "--group", "volumes", "--json"]);
    expect(other.json()).toEqual({ executions: 0, resources: 1, interrupted: false });
    expect(await left()).toEqual({ expired: 2, present: 1, rows: 2 });
  });

  it("shows on a terminal how far it is, and leaves nothing of that behind", async () => {
    await expired(40);
    const { stdout, stderr, status } = await run(["purge", "--store", url, "--batch", "10"], { terminal: true });
    expect(status).toBe(0);
    expect(stderr).toContain("0 of 40");
    // The cursor is back, and the line of the bar is gone.
    expect(stderr.lastIndexOf("\u001b[?25h")).toBeGreaterThan(stderr.lastIndexOf("\u001b[?25l"));
    expect(stderr.slice(stderr.lastIndexOf("of 40"))).toContain("\u001b[2K");
    expect(stdout).toBe("deleted 40 expired executions and 0 resources terminated at least 1 h ago\n");
    const elsewhere = await run(["purge", "--store", url]);
    expect(elsewhere.stderr).toBe("");
  });

  it("begins nothing once it is interrupted", async () => {
    await expired(3);
    const signal = AbortSignal.abort(new Interruption(EXIT.interrupted));
    const { status } = await run(["purge", "--store", url], { signal });
    expect(status).toBe(130);
    expect(await left()).toMatchObject({ expired: 3 });
  });

  it("stops between two batches at Ctrl-C, says how far it has come, and ends with 130", async () => {
    await expired(4_000);
    const store = await openStore(url);
    const { child, ended } = start(["purge", "--store", url, "--batch", "1"]);
    await until("it has begun", async () => (await store.executions.countExpired(CALL)).count < 4_000);
    child.kill("SIGINT");
    const { status, stdout, stderr } = await ended;
    await store.close();
    const { expired: remaining, present } = await left();
    expect(stderr).toBe("");
    expect(status).toBe(130);
    expect(remaining).toBeGreaterThan(0);
    expect(stdout).toMatch(`interrupted after it had deleted ${4_000 - remaining} expired executions and 0 resources`);
    expect(present).toBe(1);
  });
});
