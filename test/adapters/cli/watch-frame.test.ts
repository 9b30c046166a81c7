import { describe, expect, it } from "vitest";
import { type FrameContent, frameText } from "../../../adapters/cli/watch-frame.ts";
import type { GroupSnapshot } from "../../../adapters/cli/watched-group.ts";

const NOW = 1_800_000_000_000;

function group(name: string, more: Partial<GroupSnapshot> = {}): GroupSnapshot {
  return {
    ...{ group: name, generation: 3, observedGeneration: 3, desired: 10, converged: true },
    observed: { PENDING: 0, PROVISIONED: 10, FAILED: 0, TERMINATING: 0, TERMINATED: 4 },
    drift: { missing: 0, surplus: 0, outdated: 0, silent: 0 },
    conditions: [{ type: "Converged", status: true, reason: "AsDesired", since: NOW - 12_000 }],
    ...more,
  };
}

function content(groups: readonly GroupSnapshot[], more: Partial<FrameContent> = {}): FrameContent {
  return {
    ...{ engine: "redis", nowMs: NOW, seenAt: NOW, unknown: undefined, changes: [] },
    snapshot: { groups, elections: [], divisions: [] },
    ...more,
  };
}

const WIDE = { columns: 100, rows: 40 };

describe("a frame of evenkeel watch", () => {
  it("has desired beside observed, drift, and what holds", () => {
    const held = { type: "MassStaleness", status: true, reason: "Held", since: NOW - 65_000 };
    const text = frameText(content([group("web", { observedGeneration: 2, conditions: [held] })]), WIDE);
    expect(text.split("\n")).toEqual([
      "evenkeel watch  redis  1 group",
      "",
      "web  no reconciler has spoken",
      "  desired   10  generation 3, seen 2",
      "  observed  10  PENDING 0  PROVISIONED 10  FAILED 0  TERMINATING 0  TERMINATED 4",
      "  drift     missing 0  surplus 0  outdated 0  silent 0",
      "  MassStaleness: Held for 1 m 5 s",
    ]);
  });

  it("says that the ledger is unknown, and of when the numbers are", () => {
    const unknown = { since: NOW - 5_000, why: "connect ECONNREFUSED" };
    const [, first, second] = frameText(content([group("web")], { unknown, seenAt: NOW - 8_000 }), WIDE).split("\n");
    expect(first).toBe("UNKNOWN for 5 s: the ledger does not answer; below is what it was 8 s ago");
    expect(second).toBe("  connect ECONNREFUSED");
    const nothing = frameText(content([], { unknown, seenAt: undefined, snapshot: undefined }), WIDE);
    expect(nothing).toMatch(/nothing was seen yet/);
  });

  it.each([
    { columns: 100, rows: 24 },
    { columns: 40, rows: 10 },
    { columns: 20, rows: 5 },
    { columns: 200, rows: 100 },
  ])("fits a terminal of $columns x $rows, whatever there is", ({ columns, rows }) => {
    const groups = Array.from({ length: 30 }, (_, n) => group(`group-${n}-${"x".repeat(60)}`));
    const changes = Array.from({ length: 50 }, (_, n) => ({
      ...{ type: "resource" as const, at: NOW - n * 1_000, group: "web", id: `web-${n}`, incarnation: 1 },
      ...{ from: "PENDING" as const, to: "PROVISIONED" as const, reason: "Missing" },
    }));
    const lines = frameText(content(groups, { changes }), { columns, rows }).split("\n");
    expect(lines.length).toBeLessThan(rows);
    for (const line of lines) expect(line.length).toBeLessThan(columns);
    if (rows >= 24)
      expect(lines.filter((line) => /web {2}web-/.test(line)).length).toBeGreaterThanOrEqual(columns > 30 ? 4 : 0);
    if (rows === 24) expect(lines).toContainEqual(expect.stringMatching(/^… \d+ more groups: say --group$/));
  });

  it("shows names that a terminal would act upon, and wide ones, without breaking a line", () => {
    const lines = frameText(content([group("\u202eweb\u200b"), group("資源".repeat(30))]), {
      columns: 40,
      rows: 30,
    }).split("\n");
    expect(lines).toContainEqual(expect.stringMatching(/^\\u202eweb\\u200b {2}converged/));
    const wide = lines.find((line) => line.includes("資源"));
    // Each takes two columns.
    expect(wide?.length).toBeLessThanOrEqual(20);
    expect(wide).toMatch(/…$/);
  });

  it("lists who leads, and how shards are held", () => {
    const lease = {
      name: "web-leader",
      holder: "node-1",
      epoch: 7,
      renewals: 3,
      durationMs: 15_000,
      remainingMs: 12_400,
    };
    const division = {
      ...{
        name: "pollers",
        counts: [256],
        owners: new Map([
          [0, "node-1"],
          [9, "node-0"],
        ]),
      },
      members: [
        { id: "node-1", weight: 1, holds: 1 },
        { id: "node-2", weight: 1, holds: 0 },
      ],
      left: [{ id: "node-0", holds: 1 }],
    };
    const snapshot = { groups: [], elections: [lease], divisions: [division] };
    const text = frameText(content([], { snapshot }), WIDE);
    expect(text).toContain("  web-leader  node-1 leads, epoch 7, 12 s left of 15 s");
    expect(text).toContain("  pollers  2 of 256 shards held: node-1 1, node-2 0, node-0 1 (has left)");
  });
});
