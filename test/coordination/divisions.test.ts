import { describe, expect, it } from "vitest";
import { divisionsOf } from "../../src/coordination/divisions.ts";
import type { LeaseView } from "../../src/store.ts";
import { setUpDivision } from "./shard-set-up.ts";

const CALL = { timeoutMs: 1_000 };

function lease(name: string, holder: string): LeaseView {
  return { name, holder, epoch: 1, renewals: 0, durationMs: 15_000, remainingMs: 15_000 };
}

describe("divisions, as leases tell of them,", () => {
  it("are who takes part, with which weight, and what each holds", () => {
    const leases = [
      lease("shards:web/members/b%2F1", "2 of 4"),
      lease("shards:web/members/a", "0 of 4"),
      lease("shards:web/shards/0", "b/1 of 4"),
      lease("shards:web/shards/3", "b/1 of 4"),
      lease("shards:a%2Fb/members/a", "1 of 8"),
    ];
    expect(divisionsOf(leases)).toEqual([
      { name: "a/b", members: [{ id: "a", weight: 1, holds: 0 }], left: [], counts: [8], owners: new Map() },
      {
        name: "web",
        members: [
          { id: "b/1", weight: 2, holds: 2 },
          { id: "a", weight: 0, holds: 0 },
        ],
        left: [],
        counts: [4],
        owners: new Map([
          [0, "b/1"],
          [3, "b/1"],
        ]),
      },
    ]);
  });

  it("have no member in one that has left, whose shards are held still", () => {
    const [web] = divisionsOf([lease("shards:web/members/a", "1 of 4"), lease("shards:web/shards/2", "gone of 4")]);
    expect(web?.members).toEqual([{ id: "a", weight: 1, holds: 0 }]);
    expect(web?.left).toEqual([{ id: "gone", holds: 1 }]);
    expect(web?.owners).toEqual(new Map([[2, "gone"]]));
  });

  it("tell of every number of shards that somebody divides into", () => {
    const [web] = divisionsOf([lease("shards:web/members/a", "1 of 512"), lease("shards:web/shards/2", "b of 256")]);
    expect(web?.counts).toEqual([256, 512]);
  });

  it.each([
    ["shards:web", "a of 4"],
    ["shards:web/shards/", "a of 4"],
    ["shards:web/shards/x", "a of 4"],
    ["shards:web/shards/01", "a of 4"],
    ["shards:web/shards/4", "a of 4"],
    ["shards:web/shards/1.5", "a of 4"],
    ["shards:web/shards/1", "a"],
    ["shards:web/members/%zz", "1 of 4"],
    ["shards:web/members/a", "heavy of 4"],
    ["web/shards/1", "a of 4"],
  ])("are none in %s held by %s, which no coordinator can have taken", (name, holder) => {
    expect(divisionsOf([lease(name, holder)])).toEqual([]);
  });

  it("are those of coordinators that run", async () => {
    const { running, ledger, stopAll } = setUpDivision();
    const members = await running(2, { shards: 8 });
    const [division, ...others] = divisionsOf(await ledger.leases.list("", CALL));
    expect(others).toEqual([]);
    expect(division).toMatchObject({ counts: [8], left: [] });
    expect(division?.members.map(({ id, holds }) => [id, holds])).toEqual(
      members.map(({ id, coordinator }) => [id, coordinator.ownedShards().length]),
    );
    expect(division?.owners.size).toBe(8);
    await stopAll();
  });
});
