import { type OpenedStore, openStore } from "evenkeel/open";
import { afterEach, describe, expect, it } from "vitest";
import { databaseUrl, describePostgres, describeRedis, redisUrl } from "../../support/engines.ts";
import { run } from "./cli-kit.ts";
import { CALL, claim, idOf, newSqliteUrl, terminated } from "./ledger-kit.ts";

const open: OpenedStore[] = [];
afterEach(async () => {
  for (const store of open.splice(0)) await store.close();
});

interface Ledger {
  readonly url: string;
  readonly prefix?: string;
}

async function opened({ url, prefix }: Ledger): Promise<OpenedStore> {
  const store = await openStore(url, prefix === undefined ? {} : { prefix });
  open.push(store);
  return store;
}

/** What every command says of a ledger, whatever it is in. `schema` is what there is of it on the engine. */
function commandsWork(newLedger: () => Promise<Ledger>, schema: "made" | "none"): void {
  const command = ({ url, prefix }: Ledger, ...argv: string[]) =>
    run([...argv, "--json", "--store", url, ...(prefix === undefined ? [] : ["--prefix", prefix])]);

  it("is made by migrate and by nothing that only reads", async () => {
    const ledger = await newLedger();
    if (schema === "made") expect((await command(ledger, "leases", "list")).status).toBe(2);
    const migrated = await command(ledger, "migrate");
    expect(migrated).toMatchObject({ status: 0, stderr: "" });
    expect(migrated.json()).toEqual({ engine: expect.any(String), schema });
    expect((await command(ledger, "migrate")).json()).toMatchObject({ schema: schema === "made" ? "current" : "none" });
    expect((await command(ledger, "leases", "list")).json()).toEqual({ leases: [] });
  });

  it("tells its executions, by pages and by recency, and one of them by its first digits", async () => {
    const ledger = await newLedger();
    const store = await opened(ledger);
    const ids = ["c1", "a2", "b3"].map(idOf);
    for (const id of ids) {
      await claim(store, { id });
      // Of one millisecond the order would be that of the ids.
      const { createdAt = 0 } = (await store.executions.get(id, CALL)) ?? {};
      await expect.poll(() => Date.now()).toBeGreaterThan(createdAt);
    }
    const idsOf = async (...argv: string[]) => {
      const { executions } = (await command(ledger, "executions", "list", ...argv)).json<{
        executions: { id: string }[];
      }>();
      return executions.map(({ id }) => id);
    };
    expect(await idsOf()).toEqual([ids[1], ids[2], ids[0]]);
    expect(await idsOf("--after", idOf("a2"), "--limit", "1")).toEqual([ids[2]]);
    expect(await idsOf("--recent", "--limit", "2")).toEqual([ids[2], ids[1]]);
    expect(await idsOf("--operation", "other")).toEqual([]);
    const shown = await command(ledger, "executions", "show", "b3000000");
    expect(shown.json()).toMatchObject({ execution: { id: ids[2], status: "running", attempt: 1 } });
    expect((await command(ledger, "executions", "show", "d4000000")).status).toBe(1);
  });

  it("tells its leases, all or those whose name begins so", async () => {
    const ledger = await newLedger();
    const store = await opened(ledger);
    for (const name of ["election:b", "election:a", "shards:x"]) {
      await store.leases.acquire({ name, holder: "node-1", nonce: name, durationMs: 60_000 }, CALL);
    }
    const leases = (await command(ledger, "leases", "list")).json<{ leases: { name: string }[] }>();
    expect(leases.leases.map(({ name }) => name)).toEqual(["election:a", "election:b", "shards:x"]);
    expect((await command(ledger, "leases", "list", "shards:")).json()).toEqual({
      leases: [
        {
          ...{ name: "shards:x", holder: "node-1", epoch: expect.any(Number), renewals: 0, durationMs: 60_000 },
          remainingMs: expect.any(Number),
        },
      ],
    });
  });

  it("is purged of what has expired and of what was terminated", async () => {
    const ledger = await newLedger();
    const store = await opened(ledger);
    await claim(store, { id: idOf("aa"), leaseMs: 1, retentionMs: 1 });
    await claim(store, { id: idOf("bb") });
    await terminated(store, "workers", ["a", "b"]);
    await expect.poll(() => store.executions.get(idOf("aa"), CALL)).toBeUndefined();
    const { count } = await store.executions.countExpired(CALL);
    expect((await command(ledger, "purge")).json()).toEqual({ executions: count, resources: 0, interrupted: false });
    const rest = await command(ledger, "purge", "--older-than", "0s");
    expect(rest.json()).toEqual({ executions: 0, resources: 2, interrupted: false });
    expect(await store.executions.countExpired(CALL)).toEqual({ count: 0 });
    expect(await store.executions.get(idOf("bb"), CALL)).toBeDefined();
  });
}

describe("a ledger in SQLite", () => {
  commandsWork(async () => ({ url: await newSqliteUrl() }), "made");
});

describeRedis("a ledger in Redis", () => {
  let ledgers = 0;
  commandsWork(async () => ({ url: redisUrl(), prefix: `cli-engines-${process.pid}-${++ledgers}:` }), "none");
});

describePostgres("a ledger in PostgreSQL", () => {
  let url: Promise<string> | undefined;
  let ledgers = 0;
  commandsWork(async () => {
    url ??= databaseUrl();
    return { url: await url, prefix: `cli_${++ledgers}_` };
  }, "made");
});
