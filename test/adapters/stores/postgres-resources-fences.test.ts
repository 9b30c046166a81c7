import pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type PostgresStore, postgresStore } from "../../../adapters/stores/postgres.ts";
import type { CreateResource, Fence, ResourceWrite } from "../../../src/store.ts";
import { describePostgres } from "../../support/engines.ts";
import { newPrefix, useDatabase } from "../../support/postgres-ledgers.ts";
import { until } from "../../support/until.ts";

const CALL = { timeoutMs: 30_000 };
const group = "workers";

describePostgres("fences of postgresStore", () => {
  const database = useDatabase();
  let pool: pg.Pool;
  let prefix: string;
  let store: PostgresStore;

  beforeEach(async () => {
    pool = await database.pool();
    prefix = newPrefix();
    store = postgresStore(pool, { tablePrefix: prefix });
  });
  afterEach(() => store.close());

  /** With the transaction that wrote each. */
  const rowsOf = async (table: "groups" | "resources" | "fences"): Promise<Record<string, unknown>[]> =>
    (await pool.query(`SELECT xmin, * FROM ${prefix}${table} ORDER BY 2, 3, 4`)).rows;
  const everything = async () => [await rowsOf("groups"), await rowsOf("resources"), await rowsOf("fences")];

  const apply = (
    fences: readonly Fence[],
    { writes = [], ...rest }: { writes?: readonly ResourceWrite[]; epoch?: number; status?: string } = {},
  ) => store.resources.apply({ group, epoch: 0, ...rest, writes, fences }, CALL);

  describe("one that was tampered with", () => {
    it.each(["epoch = NULL", "epoch = -1", "epoch = 9007199254740992"])(
      "is RECORD_CORRUPT for each batch that has it, of which nothing stays: SET %s",
      async (change) => {
        await apply(epochs({ a: 3, b: 3, c: 3 }));
        await pool.query(`UPDATE ${prefix}fences SET ${change} WHERE name = 'b'`);
        const before = await everything();
        const writes = [creation("web-1", "a")];
        for (const b of [2, 3, 4, Number.MAX_SAFE_INTEGER]) {
          const refused = apply(epochs({ a: 4, b, c: 2, d: 1 }), { epoch: 1, writes, status: "s" });
          await expect(refused).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
        }
        expect(await everything()).toEqual(before);
        const others = await apply(epochs({ a: 4, c: 2 }), { writes });
        expect(others).toMatchObject({ results: [{ status: "applied" }], fences: [{ name: "c", epoch: 3 }] });
      },
    );

    it("does not make its group anew", async () => {
      await apply(epochs({ a: 3 }));
      await pool.query(`UPDATE ${prefix}fences SET epoch = -1; DELETE FROM ${prefix}groups`);
      await expect(apply(epochs({ a: 4 }))).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
      expect(await rowsOf("groups")).toEqual([]);
    });
  });

  it("are decided by the thousand, and written where they are raised", async () => {
    const count = 4_000;
    const fences = (epochOf: (n: number) => number): Fence[] =>
      Array.from({ length: count }, (_, n) => ({ name: `shard ${n}`, epoch: epochOf(n) }));
    // In turns lower, alike, higher, and not seen.
    await apply(fences((n) => 10 + n).filter((_, n) => n % 4 !== 3));
    const before = await rowsOf("fences");
    const asked = fences((n) => 9 + n + (n % 4));
    const writes = asked.slice(0, 400).map(({ name }) => creation(`of ${name}`, name));
    const answer = await apply(asked.toReversed(), { writes });
    if (answer.status === "fenced") throw new Error("fenced");
    const lower = asked.filter((_, n) => n % 4 === 0).map(({ name, epoch }) => ({ name, epoch: epoch + 1 }));
    expect(answer.fences).toEqual(lower.toReversed());
    for (const [n, result] of answer.results.entries()) {
      expect(result).toMatchObject(n % 4 === 0 ? { status: "fenced", epoch: 10 + n } : { status: "applied" });
    }
    expect(await rowsOf("resources")).toHaveLength(300);
    const after = await rowsOf("fences");
    const known = new Map(before.map((row) => [row["name"], row]));
    const written = after.filter((row) => row["xmin"] !== known.get(row["name"])?.["xmin"]);
    const epochOf = (row: Record<string, unknown>): unknown[] => [row["name"], Number(row["epoch"])];
    expect(after).toHaveLength(count);
    expect(new Map(written.map(epochOf) as [unknown, unknown][])).toEqual(
      new Map(asked.filter((_, n) => n % 4 >= 2).map(({ name, epoch }) => [name, epoch])),
    );
  });

  it("write nothing at all, not even their group, where their epochs were seen", async () => {
    await apply(epochs({ a: 3, b: 4 }), { epoch: 1 });
    const before = await everything();
    await apply(epochs({ b: 4, a: 3 }), { epoch: 1 });
    await apply(epochs({ a: 3, b: 3 }), { epoch: 1 });
    expect(await everything()).toEqual(before);
  });

  describe.each(["read committed", "repeatable read", "serializable"])("raised by two at once, %s,", (isolation) => {
    let racing: pg.Pool;

    beforeEach(async () => {
      const options = `-c default_transaction_isolation=${isolation.replace(" ", "\\ ")}`;
      racing = new pg.Pool({ connectionString: await database.url(), max: 3, options });
      await store.close();
      store = postgresStore(racing, { tablePrefix: prefix });
    });
    afterEach(async () => {
      await store.close();
      await racing.end();
    });

    // A batch with 4, which was seen before, writes no fence: there is no conflict of writes to notice the other one by.
    it.each([
      { first: "higher", lower: 4, writes: [] },
      { first: "higher", lower: 5, writes: [] },
      { first: "higher", lower: 4, writes: [creation("slow", "shard")] },
      { first: "lower", lower: 4, writes: [creation("slow", "shard")] },
      { first: "lower", lower: 5, writes: [] },
    ])("are lost by the lower: after 4 with 6 and $lower, the $first one first", async ({ first, lower, writes }) => {
      const isLost = first === "higher";
      const batch = (epoch: number, id: string) => apply(epochs({ shard: epoch }), { writes: [creation(id, "shard")] });
      await apply(epochs({ shard: 4 }));
      const slow = await racing.connect();
      let second: ReturnType<typeof batch>;
      try {
        await slow.query("BEGIN");
        const values = [group, epochs({ shard: isLost ? 6 : lower }), writes].map((value) =>
          typeof value === "string" ? value : JSON.stringify(value),
        );
        await slow.query(`SELECT * FROM ${prefix}apply_resources($1, 0, NULL, $2, $3, 1000)`, values);
        second = batch(isLost ? lower : 6, "second");
        await until("the second one waits for the group", async () => {
          const waiting =
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
          return (await pool.query(waiting)).rows.length === 1;
        });
        await slow.query("COMMIT");
      } finally {
        slow.release();
      }
      const lost = { results: [{ status: "fenced", epoch: 6 }], fences: [{ name: "shard", epoch: 6 }] };
      if (isLost) expect(await second).toEqual({ status: "decided", ...lost });
      else expect(await second).toMatchObject({ results: [{ status: "applied" }] });
      expect(await batch(lower, "late")).toEqual({ status: "decided", ...lost });
      const ids = (await store.resources.list({ group, limit: 9 }, CALL)).map(({ id }) => id);
      expect(ids).toEqual([...(isLost ? [] : ["second"]), ...writes.map(({ id }) => id)]);
    });
  });
});

function epochs(byName: Readonly<Record<string, number>>): Fence[] {
  return Object.entries(byName).map(([name, epoch]) => ({ name, epoch }));
}

function creation(id: string, fence: string): CreateResource {
  const asked = { after: 0, nonce: `nonce of ${id}`, state: "PENDING", generation: 1, attempt: 1 } as const;
  return { kind: "create", id, ...asked, fence };
}
