import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LedgerView } from "../../src/reconcile/ledger-view.ts";
import { identityOf } from "../../src/reconcile/sight.ts";
import type { ResourceRow, ResourceState } from "../../src/store.ts";

const START = 1_000_000;
const STATES: readonly ResourceState[] = ["PENDING", "PROVISIONED", "FAILED", "TERMINATING", "TERMINATED"];

function row(id: string, incarnation: number, given: Partial<ResourceRow> = {}): ResourceRow {
  return {
    group: "web",
    id,
    incarnation,
    state: "PROVISIONED",
    generation: 1,
    attempt: 0,
    fencingToken: 1,
    createdAt: START,
    stateChangedAt: START,
    version: 1,
    readAt: START,
    ...given,
  };
}

function dirtyIn(view: LedgerView): string[] {
  return [...view.dirty()].map(({ id }) => id).sort();
}

function settleAll(view: LedgerView): void {
  for (const id of dirtyIn(view)) view.settle(id);
}

describe("rows", () => {
  it("are taken in once, the latest version of each, whatever their order", () => {
    const write = fc.record({
      id: fc.constantFrom("a", "b"),
      incarnation: fc.integer({ min: 1, max: 3 }),
      version: fc.integer({ min: 1, max: 4 }),
    });
    fc.assert(
      fc.property(fc.array(write, { maxLength: 40 }), (writes) => {
        // One version is one row.
        const rows = writes.map(({ id, incarnation, version }) =>
          row(id, incarnation, { version, state: STATES[(version + incarnation) % 5] as ResourceState }),
        );
        const view = new LedgerView("web");
        for (const each of rows) view.applyRow(each);
        const latest = new Map<string, ResourceRow>();
        for (const each of rows) {
          const key = `${each.id}/${each.incarnation}`;
          if ((latest.get(key)?.version ?? 0) < each.version) latest.set(key, each);
        }
        const kept = [...latest.values()];
        for (const state of STATES) expect(view.states[state]).toBe(kept.filter((each) => each.state === state).length);
        expect(view.live).toBe(new Set(kept.filter(({ state }) => state !== "TERMINATED").map(({ id }) => id)).size);
        for (const id of ["a", "b"]) {
          const incarnations = view.slot(id)?.rows.map(({ incarnation }) => incarnation) ?? [];
          expect(incarnations).toEqual([...incarnations].sort((x, y) => x - y));
        }
      }),
    );
  });

  it("of pages are read until there is nothing new, and from the cursor the next time", async () => {
    const view = new LedgerView("web");
    const asked: (string | undefined)[] = [];
    const pages = [[row("a", 1), row("b", 1)], [row("c", 1)], []];
    const read = async (cursor: string | undefined) => {
      asked.push(cursor);
      return { rows: pages.shift() ?? [], cursor: `c${asked.length}`, reset: false };
    };
    await view.refresh(read, 2);
    await view.refresh(read, 2);
    expect(asked).toEqual([undefined, "c1", "c2"]);
    expect(view.states.PROVISIONED).toBe(3);
  });

  it("of a ledger that was lost are forgotten, and looked at anew", async () => {
    const view = new LedgerView("web");
    view.applyRow(row("a", 1));
    view.applyRow(row("b", 1, { state: "TERMINATED" }));
    await view.want({ kind: "count", count: 1 });
    settleAll(view);
    await view.refresh(async () => ({ rows: [row("c", 1)], cursor: "x", reset: true }), 10);
    expect(view.states).toEqual({ PENDING: 0, PROVISIONED: 1, FAILED: 0, TERMINATING: 0, TERMINATED: 0 });
    expect(view.live).toBe(1);
    expect(dirtyIn(view)).toContain("c");
    expect(view.hasTombstoneBefore(Number.MAX_SAFE_INTEGER)).toBe(false);
  });

  it("that are doubted while they are read are read from the beginning", async () => {
    const view = new LedgerView("web");
    await view.refresh(async () => ({ rows: [row("a", 1), row("b", 1)], cursor: "1", reset: false }), 10);
    const asked: (string | undefined)[] = [];
    const read = async (cursor: string | undefined) => {
      asked.push(cursor);
      if (asked.length === 1) view.doubt();
      const rows = cursor === undefined ? [row("a", 1, { state: "FAILED" }), row("c", 1)] : [row("c", 1)];
      return { rows, cursor: "2", reset: false };
    };
    await view.refresh(read, 10);
    expect(asked).toEqual(["1", undefined]);
    expect(view.slot("a")?.rows).toMatchObject([{ state: "FAILED" }]);
    expect(view.slot("b")?.rows ?? []).toEqual([]);
    expect(view.states).toMatchObject({ PROVISIONED: 1, FAILED: 1 });
    await view.refresh(async (cursor) => ({ rows: [], cursor: String(cursor), reset: false }), 10);
    expect(view.size).toBeGreaterThanOrEqual(2);
  });

  it("that changed make their slot dirty, until it is settled", () => {
    const view = new LedgerView("web");
    view.applyRow(row("a", 1));
    settleAll(view);
    view.applyRow(row("a", 1));
    expect(view.dirtyCount).toBe(0);
    view.applyRow(row("a", 1, { version: 2 }));
    expect(dirtyIn(view)).toEqual(["a"]);
    view.touch("nobody");
    expect(view.dirtyCount).toBe(1);
  });
});

describe("tombstones", () => {
  it("are forgotten as the ledger forgets them, with the slot that is empty then", () => {
    const view = new LedgerView("web");
    view.applyRow(row("a", 1, { state: "TERMINATED", stateChangedAt: START }));
    view.applyRow(row("b", 1, { state: "TERMINATED", stateChangedAt: START + 10 }));
    view.applyRow(row("b", 2));
    expect(view.hasTombstoneBefore(START - 1)).toBe(false);
    expect(view.hasTombstoneBefore(START)).toBe(true);
    // Seen after later ones, because it was written to again.
    view.applyRow(row("c", 1, { state: "TERMINATED", stateChangedAt: START - 10 }));
    expect(view.hasTombstoneBefore(START - 10)).toBe(true);
    view.forgetTombstonesBefore(START - 10);
    expect(view.hasTombstoneBefore(START - 1)).toBe(false);
    view.forgetTombstonesBefore(START + 10);
    settleAll(view);
    expect(view.size).toBe(1);
    expect(view.states.TERMINATED).toBe(0);
    expect(view.slot("b")?.rows.map(({ incarnation }) => incarnation)).toEqual([2]);
    expect(view.hasTombstoneBefore(Number.MAX_SAFE_INTEGER)).toBe(false);
  });
});

describe("what is wanted", () => {
  it("as a number costs what changed, and as a list what there is", async () => {
    const view = new LedgerView("web");
    await view.want({ kind: "count", count: 3 });
    settleAll(view);
    await view.want({ kind: "count", count: 5 });
    expect(dirtyIn(view)).toEqual(["web-3", "web-4"]);
    expect(view.wanted).toBe(5);
    settleAll(view);
    await view.want({ kind: "count", count: 0 });
    expect(view.wanted).toBe(0);
    settleAll(view);
    expect(view.size).toBe(0);
  });
});

describe("what is observed", () => {
  it("makes a slot dirty when it looks otherwise than before, and for a beat not", async () => {
    const view = new LedgerView("web");
    await view.see([{ id: "a", incarnation: 1 }], START);
    settleAll(view);
    expect(await view.see([{ id: "a", incarnation: 1, lastHeartbeatAt: START }], START)).toBe(true);
    expect(view.dirtyCount).toBe(0);
    await view.see([{ id: "a", incarnation: 1, healthy: false }], START);
    expect(dirtyIn(view)).toEqual(["a"]);
    settleAll(view);
    await view.see([], START);
    expect(dirtyIn(view)).toEqual(["a"]);
    settleAll(view);
    expect(view.size).toBe(0);
  });

  it("is the same in whatever order it comes", async () => {
    const view = new LedgerView("web");
    const items = [
      { id: "a", incarnation: 2 },
      { id: "a", externalId: "x" },
      { id: "a", incarnation: 1 },
    ];
    await view.see(items, START);
    settleAll(view);
    await view.see([...items].reverse(), START);
    expect(view.dirtyCount).toBe(0);
    expect(view.slot("a")?.items.map(identityOf)).toEqual(["/x", "1/", "2/"]);
  });

  it("beats of the future count as of when they were first told, and earlier ones never", async () => {
    const view = new LedgerView("web");
    const beat = async (lastHeartbeatAt: number, nowMs: number) => {
      await view.see([{ id: "a", lastHeartbeatAt }], nowMs);
      return view.slot("a")?.items[0]?.beatAt;
    };
    expect(await beat(START + 5_000, START)).toBe(START);
    expect(await beat(START + 5_000, START + 1_000)).toBe(START);
    expect(await beat(START - 1_000, START + 2_000)).toBe(START);
    expect(await beat(START + 2_500, START + 3_000)).toBe(START + 2_500);
  });

  it("beats that the clock has fallen behind count as of when it did", async () => {
    const view = new LedgerView("web");
    const beat = async (lastHeartbeatAt: number, nowMs: number) => {
      await view.see([{ id: "a", lastHeartbeatAt }], nowMs);
      return view.slot("a")?.items[0]?.beatAt;
    };
    expect(await beat(START, START)).toBe(START);
    expect(await beat(START, START - 3_600_000)).toBe(START - 3_600_000);
    expect(await beat(START, START - 3_000_000)).toBe(START - 3_600_000);
    expect(await beat(START - 2_900_000, START - 2_800_000)).toBe(START - 2_900_000);
  });
});
