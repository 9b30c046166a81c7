import { describe, expect, it } from "vitest";
import { type SqliteStore, sqliteStore } from "../../../adapters/stores/sqlite.ts";
import type { ApplyResult, CreateResource, Fence } from "../../../src/store.ts";
import { useTemporaryFolder } from "../../support/sqlite-files.ts";

const CALL = { timeoutMs: 30_000 };
const group = "workers";

const { folder, database } = useTemporaryFolder();

describe("a fence's row that was tampered with", () => {
  it.each(["epoch = 'two'", "epoch = x'00'", "epoch = -1", "epoch = 1.5", "epoch = 9007199254740992"])(
    "is RECORD_CORRUPT for each batch that has it, of which nothing stays: SET %s",
    async (change) => {
      const db = database();
      const store = sqliteStore(db);
      const batch = (epoch: number, ...fences: Fence[]): Promise<ApplyResult> =>
        store.resources.apply({ group, epoch, writes: [creation("web-1", "a")], fences, status: "s" }, CALL);
      await raise(store, fence("a", 3), fence("b", 3), fence("c", 3));
      db.exec(`UPDATE evenkeel_fences SET ${change} WHERE name = 'b'`);
      // node:sqlite tells no number that is too large for JavaScript.
      const everything = (): unknown[] =>
        ["* FROM evenkeel_groups", "* FROM evenkeel_resources", "name, quote(epoch) FROM evenkeel_fences"].map((what) =>
          db.prepare(`SELECT ${what}`).all(),
        );
      const before = everything();
      for (const epoch of [2, 3, 4, Number.MAX_SAFE_INTEGER]) {
        const refused = batch(1, fence("a", 4), fence("d", 1), fence("b", epoch), fence("c", 2));
        await expect(refused).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
      }
      expect(everything()).toEqual(before);
      const others = await batch(0, fence("a", 4), fence("c", 2));
      expect(others).toMatchObject({ results: [{ status: "applied" }], fences: [fence("c", 3)] });
      await store.close();
    },
  );
});

describe("fences of one batch", () => {
  it("are written where they are raised, and nowhere else", async () => {
    const db = database();
    const store = sqliteStore(db);
    const written = async (...fences: Fence[]): Promise<number> => {
      const total = () => (db.prepare("SELECT total_changes() AS n").get() as { n: number }).n;
      const before = total();
      await raise(store, ...fences);
      return total() - before;
    };
    const all = (epoch: number): Fence[] => Array.from({ length: 256 }, (_, n) => fence(`shard ${n}`, epoch));
    await raise(store);
    expect(await written(...all(5))).toBe(256);
    expect(await written(...all(5))).toBe(0);
    expect(await written(...all(4))).toBe(0);
    expect(await written(...all(5).slice(1), fence("shard 0", 6))).toBe(1);
    expect(db.prepare("SELECT count(*) AS n, max(epoch) AS highest FROM evenkeel_fences").get()).toEqual({
      n: 256,
      highest: 6,
    });
    await store.close();
  });
});

describe("a fence that two connections raise at once", () => {
  it.each(["higher", "lower"] as const)("is lost by the lower, if the %s one is asked first", async (first) => {
    const stores = { higher: sqliteStore(folder.file("ledger.db")), lower: sqliteStore(folder.file("ledger.db")) };
    const inTime: number[] = [];
    const rounds = 20;
    for (let round = 0; round < rounds; round += 1) {
      const epochs = { higher: 2 * round + 2, lower: 2 * round + 1 };
      const act = (who: "higher" | "lower", id: string = who): Promise<ApplyResult> => {
        const writes = [creation(`${id} ${round}`, "shard")];
        return stores[who].resources.apply({ group, epoch: 0, writes, fences: [fence("shard", epochs[who])] }, CALL);
      };
      const sooner = act(first);
      const later = act(first === "higher" ? "lower" : "higher");
      const [higher, lower] = await Promise.all(first === "higher" ? [sooner, later] : [later, sooner]);
      expect(higher).toMatchObject({ results: [{ status: "applied" }] });
      expect(higher).not.toHaveProperty("fences");
      const { higher: epoch } = epochs;
      const lost = { status: "decided", results: [{ status: "fenced", epoch }], fences: [fence("shard", epoch)] };
      // The database may be locked for whoever asked first.
      if (lower.status === "decided" && lower.results[0]?.status === "applied") inTime.push(round);
      else expect(lower).toEqual(lost);
      expect(await act("lower", "late")).toEqual(lost);
    }
    const { rows } = await stores.lower.resources.changedSince({ group, limit: 1_000 }, CALL);
    expect(rows.map(({ id }) => id)).toEqual(
      Array.from({ length: rounds }, (_, round) => [
        ...(inTime.includes(round) ? [`lower ${round}`] : []),
        `higher ${round}`,
      ]).flat(),
    );
    await stores.higher.close();
    await stores.lower.close();
  });
});

function raise({ resources }: SqliteStore, ...fences: Fence[]): Promise<ApplyResult> {
  return resources.apply({ group, epoch: 0, writes: [], fences }, CALL);
}

function fence(name: string, epoch: number): Fence {
  return { name, epoch };
}

function creation(id: string, under: string): CreateResource {
  const asked = { after: 0, nonce: `nonce of ${id}`, state: "PENDING", generation: 1, attempt: 1 } as const;
  return { kind: "create", id, ...asked, fence: under };
}
