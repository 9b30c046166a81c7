import { type LedgerStore, withIdempotency } from "evenkeel";
import { afterEach, describe, expect, it } from "vitest";
import { recordId } from "../../../src/idempotency/key.ts";
import { databaseUrl, describePostgres, describeRedis, redisUrl } from "../../support/engines.ts";
import { openLedger } from "../../support/open-ledger.ts";
import { newFolder } from "../../support/run-folder.ts";
import { until } from "../../support/until.ts";
import { endWorkers, startWorker } from "../../support/workers.ts";
import { runBuilt } from "./cli-kit.ts";
import type { Held } from "./holder.ts";

const CALL = { timeoutMs: 20_000 };

afterEach(endWorkers);

/** Waits until the claim of a key is there, and gives its token. */
async function tokenOf(store: LedgerStore, id: string): Promise<number> {
  let token: number | undefined;
  await until("the holder has its claim", async () => {
    token = (await store.executions.get(id, CALL))?.token;
    return token !== undefined;
  });
  return token ?? 0;
}

/** Two claims of a process that runs are taken away from it by the command, one way and the other. */
async function takeAway(url: string, options: readonly string[]): Promise<void> {
  const holder = await startWorker("../adapters/cli/holder.ts", url);
  const { store, close } = await openLedger(url);
  const [toRelease, toComplete] = ["order-17", "order-18"].map((key) => recordId("work", "", key)) as [string, string];
  const heldToRelease = holder.ask<Held>({ key: "order-17" });
  const heldToComplete = holder.ask<Held>({ key: "order-18" });
  const token = await tokenOf(store, toRelease);
  const otherToken = await tokenOf(store, toComplete);
  const work = withIdempotency(async (_: string, ctx): Promise<unknown> => [ctx.attempt, ctx.fencingToken], {
    ...{ store, operation: "work", inFlight: "wait", maxWaitMs: 60_000 },
  });
  const waiting = work.run("payload", { key: "order-18" });

  const refused = await runBuilt(["executions", "release", toRelease, ...options]);
  expect(refused).toMatchObject({ status: 2, stdout: "" });
  expect(refused.stderr).toContain(`running, attempt 1, token ${token}, lease `);
  expect(await store.executions.get(toRelease, CALL)).toMatchObject({ status: "running", token });

  const released = await runBuilt(["executions", "release", toRelease, "--yes", "--json", ...options]);
  expect(released).toMatchObject({ status: 0, stderr: "" });
  const { tokenAfter, ...rest } = released.json<{ tokenAfter: number }>();
  const before = { operation: "work", statusBefore: "running", attempt: 1, tokenBefore: token };
  expect(rest).toEqual({ id: toRelease, result: "released", ...before });
  expect(tokenAfter).toBeGreaterThan(token);

  const value = { receipt: "r-1", paid: [1, null] };
  const completion = ["executions", "complete", toComplete.slice(0, 12), "--value", JSON.stringify(value), "--yes"];
  const completed = await runBuilt([...completion, ...options]);
  expect(completed).toMatchObject({ status: 0, stderr: "" });
  expect(completed.stdout).toMatch(new RegExp(`token before +${otherToken}\ntoken after +\\d+\n`));
  expect(await waiting).toMatchObject({ value, replayed: true });

  // Both signals abort, and what the holder then returns is refused.
  const lost = { got: "LEASE_LOST", events: expect.arrayContaining(["lease_lost"]) };
  expect(await heldToRelease).toMatchObject({ token, ...lost });
  expect(await heldToComplete).toMatchObject({ token: otherToken, ...lost });

  const next = (await work("payload", { key: "order-17" })) as [number, number];
  expect(next).toEqual([2, expect.any(Number)]);
  expect(next[1]).toBeGreaterThan(tokenAfter);
  expect(await work.run("payload", { key: "order-17" })).toMatchObject({ value: next, replayed: true });
  expect(await work.run("payload", { key: "order-18" })).toMatchObject({ value, replayed: true });
  await close();
}

const SENTENCE =
  "are taken from a process that runs: its signals abort, it completes nothing, and callers get what was decided";

describe("executions by force on SQLite", () => {
  it(SENTENCE, async () => {
    const url = `sqlite:${await newFolder("cli-force")}/ledger.db`;
    await takeAway(url, ["--store", url]);
  });
});

describeRedis("executions by force on Redis", () => {
  it(SENTENCE, async () => {
    const prefix = `cli-force-${process.pid}-${performance.now()}:`;
    await takeAway(`${redisUrl()}#${prefix}`, ["--store", redisUrl(), "--prefix", prefix]);
  });
});

describePostgres("executions by force on PostgreSQL", () => {
  it(SENTENCE, async () => {
    const url = await databaseUrl();
    await takeAway(url, ["--store", url]);
  });
});
