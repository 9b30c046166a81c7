import { fixedThreshold, type HeartbeatHistory, type StalenessPolicy } from "evenkeel";
import { describe, expect, it } from "vitest";
import { LedgerView } from "../../src/reconcile/ledger-view.ts";
import { type HeartbeatReader, StalenessWatch } from "../../src/reconcile/staleness-watch.ts";
import type { ResourceRow } from "../../src/store.ts";

const START = 1_000_000;

function row(id: string, given: Partial<ResourceRow> = {}): ResourceRow {
  return {
    group: "web",
    id,
    incarnation: 1,
    state: "PROVISIONED",
    generation: 1,
    attempt: 0,
    fencingToken: 1,
    createdAt: START,
    stateChangedAt: START,
    provisionedAt: START,
    version: 1,
    readAt: START,
    ...given,
  };
}

/** A store of rows, its time, and what it was asked. */
function setUp(policy: StalenessPolicy, rows: ResourceRow[]) {
  let now = START;
  const asked: string[] = [];
  const view = new LedgerView("web");
  for (const each of rows) view.applyRow(each);
  const read = (each: ResourceRow): ResourceRow => ({ ...each, readAt: now });
  const sinceOf = (each: ResourceRow): number => each.lastHeartbeatAt ?? each.provisionedAt ?? each.createdAt;
  const reader: HeartbeatReader = {
    async staleBefore(ageMs, limit) {
      asked.push(`staleBefore ${ageMs}`);
      const live = rows.filter(({ state }) => state === "PROVISIONED").sort((a, b) => sinceOf(a) - sinceOf(b));
      const silent = live.filter((each) => now - sinceOf(each) > ageMs).slice(0, limit);
      const next = live[silent.length];
      return {
        rows: silent.map(read),
        ...(next === undefined ? {} : { nextInMs: Math.max(0, sinceOf(next) + ageMs + 1 - now) }),
      };
    },
    async get(id) {
      asked.push(`get ${id}`);
      const found = rows.find((each) => each.id === id);
      return found && read(found);
    },
    async *provisioned() {
      asked.push("provisioned");
      yield* rows.map(read);
    },
  };
  const watch = new StalenessWatch(policy);
  const refresh = (at: number) => {
    now = at;
    return watch.refresh(reader, view, { nowMs: at, mode: "real" }, "stored");
  };
  const beat = (id: string, at: number): void => {
    const index = rows.findIndex((each) => each.id === id);
    rows[index] = { ...(rows[index] as ResourceRow), lastHeartbeatAt: at };
  };
  const health = (id: string, beatAt?: number) => {
    const found = rows.find((each) => each.id === id) as ResourceRow;
    return watch.healthOf(found, beatAt === undefined ? undefined : { id, beatAt }, {
      nowMs: now,
      mode: "real",
    });
  };
  return { watch, refresh, beat, health, asked };
}

describe("a policy that promises quiet", () => {
  it("costs one question of the index, however many there are", async () => {
    const rows = Array.from({ length: 100 }, (_, index) => row(`r-${index}`));
    const { refresh, asked, watch } = setUp(fixedThreshold({ staleAfterMs: 30_000 }), rows);
    expect(await refresh(START + 10_000)).toEqual([]);
    expect(asked).toEqual(["staleBefore 30000"]);
    expect(watch.nextAt).toBe(START + 30_001);
  });

  it("finds one stale strictly over its threshold, and says for how long it was silent", async () => {
    const { refresh, health, watch } = setUp(fixedThreshold({ staleAfterMs: 30_000 }), [
      row("a", { lastHeartbeatAt: START }),
    ]);
    expect(await refresh(START + 30_000)).toEqual([]);
    expect(health("a")).toEqual({ verdict: "fresh" });
    expect(watch.nextAt).toBe(START + 30_001);
    expect(await refresh(START + 30_001)).toEqual(["a"]);
    expect(health("a")).toEqual({ verdict: "stale", reason: "HeartbeatStale", silentForMs: 30_001 });
    expect(watch.nextAt).toBeUndefined();
  });

  it("names one that beat again once more, so that it is judged anew", async () => {
    const { refresh, beat, health } = setUp(fixedThreshold({ staleAfterMs: 30_000 }), [
      row("a", { lastHeartbeatAt: START }),
    ]);
    await refresh(START + 40_000);
    beat("a", START + 40_000);
    expect(await refresh(START + 41_000)).toEqual(["a"]);
    expect(health("a")).toEqual({ verdict: "fresh" });
    expect(await refresh(START + 42_000)).toEqual([]);
  });

  it("is asked again when a startup grace ends", async () => {
    const { refresh, health, watch } = setUp(fixedThreshold({ staleAfterMs: 30_000 }), [row("a")]);
    expect(await refresh(START + 30_001)).toEqual(["a"]);
    expect(health("a")).toEqual({ verdict: "fresh", nextCheckAt: START + 60_001 });
    expect(watch.nextAt).toBe(START + 60_001);
    await refresh(START + 60_001);
    expect(health("a")).toMatchObject({ verdict: "stale" });
  });

  it("believes a later beat that came another way, and an earlier one not", async () => {
    const { refresh, health } = setUp(fixedThreshold({ staleAfterMs: 30_000 }), [row("a", { lastHeartbeatAt: START })]);
    await refresh(START + 40_000);
    expect(health("a", START + 20_000)).toMatchObject({ verdict: "fresh" });
    expect(health("a", START - 20_000)).toMatchObject({ verdict: "stale" });
  });
});

describe("the object of a history", () => {
  it("is the same for the same silence, also with a beat from elsewhere, and another for another", async () => {
    const seen: HeartbeatHistory[] = [];
    const policy: StalenessPolicy = {
      quietMs: 10_000,
      assess(history) {
        seen.push(history);
        return { verdict: "stale" };
      },
    };
    const { refresh, beat, health } = setUp(policy, [row("a", { lastHeartbeatAt: START })]);
    await refresh(START + 20_000);
    health("a");
    health("a", START + 5_000);
    await refresh(START + 21_000);
    health("a");
    health("a", START + 5_000);
    health("a", START + 6_000);
    expect(seen[2]).toBe(seen[0]);
    expect(seen[3]).toBe(seen[1]);
    expect(seen[4]).not.toBe(seen[1]);
    beat("a", START + 7_000);
    await refresh(START + 22_000);
    health("a");
    expect(seen[5]).not.toBe(seen[0]);
    expect(seen[5]?.lastHeartbeatAt).toBe(START + 7_000);
  });
});

describe("a policy that promises nothing", () => {
  const after10s: StalenessPolicy = {
    assess({ lastHeartbeatAt = START }, nowMs) {
      return nowMs - lastHeartbeatAt > 10_000
        ? { verdict: "stale" }
        : { verdict: "fresh", nextCheckAt: lastHeartbeatAt + 10_001 };
    },
  };

  it("is asked about each row when it wants to be, and not before", async () => {
    const { refresh, asked, watch } = setUp(after10s, [row("a"), row("b")]);
    expect(await refresh(START)).toEqual(["a", "b"]);
    expect(asked).toEqual(["get a", "get b"]);
    expect(watch.nextAt).toBe(START + 10_001);
    expect(await refresh(START + 10_000)).toEqual([]);
    expect(asked).toHaveLength(2);
    expect(await refresh(START + 10_001)).toEqual(["a", "b"]);
  });

  it("reads the group as a whole where many are due", async () => {
    const { refresh, asked } = setUp(
      after10s,
      Array.from({ length: 40 }, (_, index) => row(`r-${index}`)),
    );
    await refresh(START);
    expect(asked).toEqual(["provisioned"]);
  });

  it("learns intervals from the beats that it sees, at most 100", async () => {
    let last: HeartbeatHistory | undefined;
    const policy: StalenessPolicy = {
      assess(history, nowMs) {
        last = history;
        return { verdict: "fresh", nextCheckAt: nowMs + 1 };
      },
    };
    const { refresh, beat } = setUp(policy, [row("a")]);
    for (let second = 0; second <= 150; second += 1) {
      beat("a", START + second * 1_000);
      await refresh(START + second * 1_000);
    }
    expect(last?.intervalsMs).toEqual(Array.from({ length: 100 }, () => 1_000));
  });

  it("makes no next moment of one that nothing but a beat changes, nor of one that is stale", async () => {
    for (const verdict of ["fresh", "stale"] as const) {
      const { refresh, health, watch } = setUp({ assess: () => ({ verdict }) }, [row("a")]);
      await refresh(START);
      health("a");
      expect(watch.nextAt).toBeUndefined();
      await refresh(START + 1);
      expect(watch.nextAt).toBeUndefined();
    }
  });

  it("that fails is asked again soon, and declares nobody dead meanwhile", async () => {
    let isBroken = true;
    const policy: StalenessPolicy = {
      assess(history, nowMs) {
        if (isBroken) throw new Error("no");
        return after10s.assess(history, nowMs);
      },
    };
    const { refresh, health, watch } = setUp(policy, [row("a")]);
    await refresh(START + 20_000);
    expect(health("a")).toMatchObject({ verdict: "fresh" });
    expect(watch.failure).toMatchObject({ message: "no" });
    expect(watch.nextAt).toBe(START + 25_000);
    isBroken = false;
    expect(await refresh(START + 25_000)).toEqual(["a"]);
    expect(health("a")).toMatchObject({ verdict: "stale", silentForMs: 25_000 });
    expect(watch.failure).toBeUndefined();
  });
});

it("what is said to be ill is stale at once, whatever its beats", async () => {
  const { health } = setUp(fixedThreshold({ staleAfterMs: 30_000 }), [row("a")]);
  const watch = new StalenessWatch(fixedThreshold({ staleAfterMs: 30_000 }));
  expect(watch.healthOf(row("a"), { id: "a", healthy: false }, { nowMs: START, mode: "real" })).toEqual({
    verdict: "stale",
    reason: "Unhealthy",
  });
  expect(health("a")).toEqual({ verdict: "fresh" });
});
