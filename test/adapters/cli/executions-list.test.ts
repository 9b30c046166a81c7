import { sqliteStore } from "evenkeel/sqlite";
import { describe, expect, it } from "vitest";
import type { Ran } from "./cli-kit.ts";
import { CALL, claim, clockBehind, fileOf, idOf, useLedger } from "./ledger-kit.ts";

const ledger = useLedger("executions");
const executions = ledger.run;

interface Shown {
  readonly executions: readonly { readonly id: string; readonly [name: string]: unknown }[];
  readonly next?: string;
}

const idsOf = (ran: Ran): string[] => ran.json<Shown>().executions.map(({ id }) => id);

describe("executions list", () => {
  it("shows where each record stands", async () => {
    await claim(ledger.store, { id: idOf("aa"), operation: "running", scope: "tenant-1" });
    await claim(ledger.store, { id: idOf("bb"), operation: "abandoned", leaseMs: 1 });
    const { token } = await claim(ledger.store, { id: idOf("cc"), operation: "completed" });
    const holder = { id: idOf("cc"), token, nonce: `nonce of ${idOf("cc")}` };
    const outcome = { kind: "value" as const, bytes: new Uint8Array(117) };
    await ledger.store.executions.complete({ ...holder, outcome, retentionMs: 60_000 }, CALL);
    await expect
      .poll(async () => (await executions("list", "--status", "abandoned", "--json")).stdout)
      .toContain("bb00");

    const { stdout } = await executions("list");
    const [head, ...rows] = stdout.trimEnd().split("\n");
    expect(head?.split(/ {2,}/)).toEqual(["ID", "OPERATION", "SCOPE", "STATUS", "ATTEMPT", "TOKEN", "AGE", "LEASE"]);
    expect(rows).toHaveLength(3);
    expect(rows[0]).toMatch(/^aa0{14} {2}running +[0-9a-f]{16} {2}running +1 +\d+ +\d+ m?s {2}\d+ m?s left$/);
    expect(rows[1]).toMatch(/^bb0{14} {2}abandoned +- +abandoned +1 +\d+ +\d+ m?s {2}lapsed \d+ m?s ago$/);
    expect(rows[2]).toMatch(/^cc0{14} {2}completed +- +completed +1 +\d+ +\d+ m?s {2}-$/);

    const [running, abandoned, completed] = (await executions("list", "--json")).json<Shown>().executions;
    expect(running).toMatchObject({ status: "running", leaseRemainingMs: expect.any(Number), retentionMs: 86_400_000 });
    expect(abandoned).toMatchObject({ status: "abandoned", leaseExpiredAt: expect.any(Number), retryGranted: false });
    expect(completed).toMatchObject({ status: "completed", outcome: { kind: "value", sizeBytes: 100 } });
  });

  it("has a page after another, in the order of the ids, and only what is asked for", async () => {
    const ids = Array.from({ length: 7 }, (_, at) => idOf(`a${at}`));
    for (const [at, id] of ids.entries()) await claim(ledger.store, { id, operation: at % 2 === 0 ? "even" : "odd" });
    const first = await executions("list", "--limit", "3", "--json");
    expect(idsOf(first)).toEqual(ids.slice(0, 3));
    expect(first.json<Shown>().next).toBe(ids[2]);
    const second = await executions("list", "--limit", "4", "--after", ids[2] ?? "", "--json");
    expect(idsOf(second)).toEqual(ids.slice(3));
    expect(second.json<Shown>().next).toBeUndefined();
    expect(idsOf(await executions("list", "--operation", "odd", "--json"))).toEqual([ids[1], ids[3], ids[5]]);
    expect(idsOf(await executions("list", "--status", "completed", "--json"))).toEqual([]);
    expect((await executions("list", "--limit", "3")).stderr).toContain(`--after ${ids[2]}`);
  });

  it("has more than a store is asked for at once", async () => {
    const ids = Array.from({ length: 1_203 }, (_, at) => idOf(String(10_000 + at)));
    await Promise.all(ids.map((id) => claim(ledger.store, { id })));
    const all = await executions("list", "--limit", "1300", "--json");
    expect(idsOf(all)).toEqual(ids);
    expect(all.json<Shown>().next).toBeUndefined();
    expect((await executions("list", "--limit", "1202", "--json")).json<Shown>().next).toBe(ids[1_201]);
  });

  it("has those that began last, the newest first", async () => {
    const ids = [idOf("c1"), idOf("a2"), idOf("b3")];
    for (const [at, id] of ids.entries()) {
      const earlier = sqliteStore(fileOf(ledger.url), { clock: clockBehind(10_000 - at * 1_000) });
      await claim(earlier, { id });
      await earlier.close();
    }
    expect(idsOf(await executions("list", "--recent", "--limit", "2", "--json"))).toEqual([ids[2], ids[1]]);
  });
});
