import type { LedgerStore } from "evenkeel";
import { type OpenedStore, openStore } from "evenkeel/open";
import { afterEach, describe, expect, it } from "vitest";
import { type Command, command } from "../../../adapters/cli/command.ts";
import { IDENTITY } from "../../../adapters/cli/find-execution.ts";
import { flag } from "../../../adapters/cli/option-spec.ts";
import { settleNamed } from "../../../adapters/cli/settled-by-force.ts";
import { recordId } from "../../../src/idempotency/key.ts";
import { databaseUrl, describePostgres, describeRedis, redisUrl } from "../../support/engines.ts";
import { type Ran, run } from "./cli-kit.ts";
import { CALL, claim, newSqliteUrl } from "./ledger-kit.ts";

const open: OpenedStore[] = [];
afterEach(async () => {
  for (const store of open.splice(0)) await store.close();
});

/** Settles a record by force, and does something to it between the look and the deed. */
function slow(meanwhile: () => Promise<unknown>): Command {
  return command({
    ...{ name: "settle", summary: "settle", argument: { name: "ID", required: "optional" } },
    options: { ...IDENTITY, yes: flag("do it") },
    run: (context) =>
      settleNamed(context, async () => {
        await meanwhile();
        return { settlement: { as: "released" }, would: "settle", says: "settled" };
      }),
  });
}

/** The three ways in which a record can be another by the time it shall be taken. */
function losesRaces(newLedger: () => Promise<{ readonly url: string; readonly prefix?: string }>): void {
  async function setUp(key: string) {
    const { url, prefix } = await newLedger();
    const store = await openStore(url, prefix === undefined ? {} : { prefix });
    open.push(store);
    const id = recordId("pay", "", key);
    const { token } = await claim(store, { id });
    const options = ["--store", url, ...(prefix === undefined ? [] : ["--prefix", prefix])];
    const settle = (meanwhile: () => Promise<unknown>, ...more: readonly string[]): Promise<Ran> =>
      run(["settle", id, "--yes", ...options, ...more], { commands: [slow(meanwhile)] });
    return { store: store as LedgerStore, id, token, holder: { id, token, nonce: `nonce of ${id}` }, settle };
  }

  it("is left alone where another caller took it over", async () => {
    const { store, id, holder, settle } = await setUp("taken");
    const taken = await settle(async () => {
      const as = { mode: "retry" as const, attempt: 1, retentionMs: 60_000 };
      await store.executions.release({ ...holder, as }, CALL);
      await claim(store, { id, nonce: "another" });
    });
    expect(taken).toMatchObject({ status: 1, stdout: "", stderr: expect.stringContaining("another caller has taken") });
    expect(await store.executions.get(id, CALL)).toMatchObject({ status: "running", attempt: 2 });
  });

  it("is left alone where it was completed", async () => {
    const { store, id, token, holder, settle } = await setUp("completed");
    const outcome = { kind: "value" as const, bytes: new Uint8Array(20) };
    const completed = await settle(() => {
      return store.executions.complete({ ...holder, outcome, retentionMs: 60_000 }, CALL);
    });
    expect(completed).toMatchObject({ status: 1, stdout: "", stderr: expect.stringContaining("was completed since") });
    expect(await store.executions.get(id, CALL)).toMatchObject({ status: "completed", token });
  });

  it("is not made anew where it is gone", async () => {
    const { store, id, holder, settle } = await setUp("gone");
    const forget = () => store.executions.release({ ...holder, as: { mode: "forget" } }, CALL);
    const gone = await settle(forget, "--json");
    const why = "it is gone since it was looked at; nothing was changed";
    expect(gone).toMatchObject({ status: 1, stderr: `evenkeel: ${why}\n` });
    expect(gone.json()).toEqual({ id, result: "missing", why });
    expect(await store.executions.get(id, CALL)).toBeUndefined();
  });

  it("is taken where it is as it was", async () => {
    const { store, id, token, settle } = await setUp("same");
    expect(await settle(async () => {})).toMatchObject({ status: 0, stderr: "" });
    const { token: after = 0 } = (await store.executions.get(id, CALL)) ?? {};
    expect(after).toBeGreaterThan(token);
  });
}

describe("a record that changes between the look and the deed, on SQLite,", () => {
  losesRaces(async () => ({ url: await newSqliteUrl() }));
});

describeRedis("a record that changes between the look and the deed, on Redis,", () => {
  losesRaces(async () => ({ url: redisUrl(), prefix: `cli-races-${process.pid}-${performance.now()}:` }));
});

describePostgres("a record that changes between the look and the deed, on PostgreSQL,", () => {
  let url: Promise<string> | undefined;
  losesRaces(async () => {
    url ??= databaseUrl();
    return { url: await url };
  });
});
