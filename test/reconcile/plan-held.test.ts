import { describe, expect, it } from "vitest";
import { judge } from "../../src/reconcile/judge.ts";
import { type Composition, compose, type PlanContext } from "../../src/reconcile/plan.ts";
import type { Slot } from "../../src/reconcile/slot.ts";
import type { JudgeContext } from "../../src/reconcile/verdict.ts";
import { GRACE, judgeContext, NOW, planContext, row, slot, unwanted } from "./plan-arbitraries.ts";

interface Circumstances {
  readonly judged?: Partial<JudgeContext>;
  readonly planned?: Partial<PlanContext>;
}

function plan(slots: readonly Slot[], { judged = {}, planned = {} }: Circumstances = {}): Promise<Composition> {
  return compose(
    slots.map((one) => judge(one, judgeContext(judged))),
    planContext({ live: slots.length, ...planned }),
  );
}

const shown = ({ steps, held }: Composition): string[] => [
  ...steps.map(({ type, id, incarnation }) => `${type} ${id}/${incarnation}`),
  ...held.map(({ type, id, incarnation, heldBy }) => `${type} ${id}/${incarnation}: ${heldBy}`),
];
const lines = async (slots: readonly Slot[], circumstances?: Circumstances): Promise<string[]> =>
  shown(await plan(slots, circumstances));

const SILENT = { lastHeartbeatAt: NOW - 30_001 };
/** So many slots, of which the first are silent. */
const fleet = (size: number, silent: number): Slot[] =>
  Array.from({ length: size }, (_, index) => slot([row({ id: `web-${index}`, ...(index < silent ? SILENT : {}) })]));
const missing = (id = "web-0"): Slot => slot([], { id });

describe("held by paused, notLeader, unknown", () => {
  it.each(["paused", "notLeader", "unknown"] as const)("%s: nothing at all is done", async (blockedBy) => {
    const slots = [missing("web-1"), unwanted(slot([row({ id: "web-2", state: "TERMINATING" })])), ...fleet(1, 1)];
    expect(await lines(slots, { planned: { blockedBy } })).toEqual([
      `fail web-0/1: ${blockedBy}`,
      `replace web-0/2: ${blockedBy}`,
      `create web-1/1: ${blockedBy}`,
      `terminate web-2/1: ${blockedBy}`,
    ]);
  });

  it("unknown: a partial observation may lack what is there", async () => {
    const tombstone = slot([row({ id: "web-1", state: "TERMINATED" })]);
    const slots = [missing(), tombstone, slot([row({ id: "web-2" })])];
    expect(await lines(slots, { judged: { observed: "partial" } })).toEqual([
      "create web-0/1: unknown",
      "create web-1/2: unknown",
    ]);
  });
});

describe("held by notOwner", () => {
  it("what is done by another is counted and not done; until it is done the group is not settled, and we wait for nothing", async () => {
    const slots = [...fleet(2, 0), missing("web-7")];
    const composition = await plan(slots, { planned: { owns: (id) => id !== "web-7" } });
    expect(shown(composition)).toEqual(["create web-7/1: notOwner"]);
    expect(composition).toMatchObject({ isSettled: false, drift: { missing: 1 } });
    expect(composition.nextAt).toBeUndefined();
  });
});

describe("held by massGuard", () => {
  it("does nothing below 10 rows, below 3 silent, and below half", async () => {
    expect((await plan(fleet(9, 9))).steps).toHaveLength(18);
    expect((await plan(fleet(10, 2))).steps).toHaveLength(4);
    expect((await plan(fleet(10, 4))).steps).toHaveLength(8);
  });

  it("slows when half are silent: one slot now, the next after 10 s", async () => {
    const composition = await plan(fleet(10, 5));
    expect(composition.steps.map(({ type, id }) => `${type} ${id}`)).toEqual(["fail web-0", "replace web-0"]);
    expect(composition.held).toHaveLength(8);
    expect(composition).toMatchObject({ mass: { mode: "slow" }, nextAt: NOW + 10_000 });
    const again = await plan(fleet(10, 5), { planned: { lastReplacementAt: NOW - 9_999 } });
    expect(again.steps).toEqual([]);
    expect(again.nextAt).toBe(NOW + 1);
  });

  it("holds when all are silent, marks nobody FAILED, and gives way to who has approved it", async () => {
    const composition = await plan(fleet(10, 10));
    expect(composition.steps).toEqual([]);
    expect(new Set(composition.held.map(({ heldBy }) => heldBy))).toEqual(new Set(["massGuard"]));
    expect((await plan(fleet(10, 10), { planned: { isApproved: true } })).steps).toHaveLength(20);
    expect((await plan(fleet(10, 10), { planned: { massGuard: false } })).steps).toHaveLength(20);
  });

  it("counts those that were replaced a moment ago: an outage does not come all in one pass", async () => {
    const justReplaced = new Set(["web-0", "web-8", "web-9"]);
    expect((await plan(fleet(10, 3), { planned: { justReplaced } })).mass.mode).toBe("slow");
    expect((await plan(fleet(10, 2), { planned: { justReplaced } })).mass.mode).toBe("off");
  });

  it("slows under fenceFirst too, where those that were given up are gone before they are made anew", async () => {
    const gone = (state: "TERMINATING" | "TERMINATED", stateChangedAt: number): Slot =>
      slot([row({ id: "web-0", state, reason: "HeartbeatStale", stateChangedAt })]);
    const judged = { replacement: "fenceFirst" } as const;
    for (const first of [gone("TERMINATING", NOW - 4_000), gone("TERMINATED", NOW - 4_000)]) {
      const rest = fleet(10, 5).slice(1);
      const composition = await plan([first, ...rest], {
        judged,
        planned: { live: first.rows[0]?.state === "TERMINATED" ? 9 : 10 },
      });
      expect(composition.mass).toEqual({ mode: "slow", nextReplacementAt: NOW + 6_000 });
      expect(composition.steps.filter(({ type }) => type === "fail")).toEqual([]);
    }
  });
});

describe("held by unconfirmedEmpty", () => {
  const tenOf = Array.from({ length: 10 }, (_, index) => slot([row({ id: `web-${index}` })]));

  it("an empty desired that is not believed ends nothing", async () => {
    const judged = { desired: "unconfirmed" } as const;
    const slots = tenOf.map(unwanted);
    const composition = await plan(slots, { judged });
    expect(composition.steps).toEqual([]);
    expect(composition.held.map(({ type, heldBy }) => `${type}: ${heldBy}`)).toEqual(
      Array.from({ length: 10 }, () => "terminate: unconfirmedEmpty"),
    );
    expect((await plan(slots, { judged, planned: { isApproved: true } })).steps).toHaveLength(10);
  });

  it("an empty observe that is not believed makes nothing anew", async () => {
    const judged = { observed: "unconfirmed" } as const;
    const composition = await plan([...tenOf, missing("web-10")], { judged });
    expect(composition.steps).toEqual([]);
    expect(new Set(composition.held.map(({ heldBy }) => heldBy))).toEqual(new Set(["unconfirmedEmpty"]));
    expect(composition.held).toHaveLength(11);
  });

  it("what is on its way out goes on", async () => {
    const slots = [unwanted(slot([row({ state: "TERMINATING" })]))];
    expect(await lines(slots, { judged: { desired: "unconfirmed" } })).toEqual(["terminate web-0/1"]);
  });
});

describe("held by backoff", () => {
  it("what failed waits until its time, which is when it is looked at next", async () => {
    const failed = { judged: { retryOf: () => NOW + 700 } };
    const composition = await plan([missing()], failed);
    expect(shown(composition)).toEqual(["create web-0/1: backoff"]);
    expect(composition.nextAt).toBe(NOW + 700);
    expect(await lines([missing()], { judged: { retryOf: () => NOW } })).toEqual(["create web-0/1"]);
  });

  it("what was given up waits without an end", async () => {
    const composition = await plan([missing()], { judged: { retryOf: () => "blocked" } });
    expect(shown(composition)).toEqual(["create web-0/1: backoff"]);
    expect(composition.nextAt).toBeUndefined();
  });

  it("after a failed batch no creation is begun, replacements among them; what is written goes on", async () => {
    const composition = await plan([missing("web-1"), ...fleet(1, 1)], { planned: { creationAt: NOW + 50 } });
    expect(shown(composition)).toEqual(["fail web-0/1", "replace web-0/2: backoff", "create web-1/1: backoff"]);
    expect(composition.nextAt).toBe(NOW + 50);
  });

  it("replacements of one slot wait 10 s after the second failure in a row, and 20 s after the third", async () => {
    const ended = (incarnation: number): ReturnType<typeof row> =>
      row({
        incarnation,
        state: "TERMINATED",
        reason: "HeartbeatStale",
        stateChangedAt: NOW - 1_000 * (9 - incarnation),
        provisionedAt: NOW - 60_000,
      });
    const failed = (incarnation: number) =>
      row({ incarnation, state: "FAILED", reason: "HeartbeatStale", stateChangedAt: NOW });
    expect(await lines([slot([failed(1)])])).toEqual(["replace web-0/2"]);
    const second = await plan([slot([ended(1), failed(2)])]);
    expect(shown(second)).toEqual(["replace web-0/3: backoff"]);
    expect(second.nextAt).toBeGreaterThanOrEqual(NOW + 10_000);
    expect(second.nextAt).toBeLessThanOrEqual(NOW + 12_000);
    const third = await plan([slot([ended(1), ended(2), failed(3)])]);
    expect(third.nextAt).toBeGreaterThanOrEqual(NOW + 20_000);
    expect(third.nextAt).toBeLessThanOrEqual(NOW + 24_000);
  });
});

describe("held by budget", () => {
  it("at most so many actions a pass; what is over is for the next, at once", async () => {
    const slots = Array.from({ length: 7 }, (_, index) => missing(`web-${index}`));
    const composition = await plan(slots, { planned: { maxActions: 5 } });
    expect(shown(composition).slice(4)).toEqual(["create web-4/1", "create web-5/1: budget", "create web-6/1: budget"]);
    expect(composition.nextAt).toBe(NOW);
  });

  it("lists 500 of what is over, and counts the others", async () => {
    const slots = Array.from({ length: 3_000 }, (_, index) => missing(`web-${index}`));
    const { steps, held, unlisted } = await plan(slots);
    expect([steps.length, held.length, unlisted]).toEqual([500, 500, 2_000]);
    expect([steps[0]?.id, steps.at(-1)?.id, held.at(-1)?.id]).toEqual(["web-0", "web-499", "web-999"]);
  });

  it("renews so many at a time as may be unavailable, less those that are", async () => {
    const outdated = Array.from({ length: 4 }, (_, index) => slot([row({ id: `web-${index}`, spec: '"old"' })]));
    const planned = { maxUnavailable: 2, desired: 5 };
    expect((await plan(outdated, { planned })).steps.map(({ id }) => id)).toEqual(["web-0", "web-1"]);
    const broken: Slot[] = [
      slot([row({ id: "web-9", state: "FAILED" })]),
      slot([row({ id: "web-9", state: "TERMINATING" })]),
      slot([row({ id: "web-9", ...SILENT })]),
      // Its predecessor was ended for its spec, and it does not come up.
      slot([row({ id: "web-9", state: "TERMINATED", reason: "SpecChanged" })]),
      slot([row({ id: "web-9", state: "TERMINATED" }), row({ id: "web-9", incarnation: 2, state: "PENDING" })]),
    ];
    for (const one of broken) {
      const { steps, held } = await plan([...outdated, one], { planned });
      expect(steps.filter(({ reason }) => reason === "SpecChanged").map(({ id }) => id)).toEqual(["web-0"]);
      expect(held.filter(({ heldBy }) => heldBy === "budget").map(({ id }) => id)).toEqual(["web-1", "web-2", "web-3"]);
    }
  });
});

describe("held by grace", () => {
  it("nobody is declared dead for as long as we may have been deaf; who says that it is ill is believed", async () => {
    const composition = await plan(fleet(1, 1), { judged: { graceUntil: NOW + 9 } });
    expect(shown(composition)).toEqual(["fail web-0/1: grace", "replace web-0/2: grace"]);
    expect(composition.nextAt).toBe(NOW + 9);
    expect(await lines(fleet(1, 1), { judged: { graceUntil: NOW } })).toEqual(["fail web-0/1", "replace web-0/2"]);
    const ill = slot([row()], { items: [{ id: "web-0", incarnation: 1, healthy: false }] });
    const judged = { observed: "complete", graceUntil: NOW + 9 } as const;
    expect(await lines([ill], { judged })).toEqual(["fail web-0/1", "replace web-0/2"]);
  });

  it("what was made a moment ago need not be observed yet", async () => {
    const judged = { observed: "complete" } as const;
    const made = (ms: number): Slot => slot([row({ provisionedAt: NOW - ms })]);
    const composition = await plan([made(GRACE - 1)], { judged });
    expect(shown(composition)).toEqual(["create web-0/2: grace"]);
    expect(composition.nextAt).toBe(NOW + 1);
    expect(await lines([made(GRACE)], { judged })).toEqual(["create web-0/2"]);
  });
});

describe("held by fence", () => {
  it("what is on its way out has to be gone first, under either policy", async () => {
    const leaving = slot([row({ state: "TERMINATING" })]);
    for (const replacement of ["replaceFirst", "fenceFirst"] as const)
      expect(await lines([leaving], { judged: { replacement } })).toEqual([
        "terminate web-0/1",
        "create web-0/2: fence",
      ]);
  });

  it("under fenceFirst a zombie has to be gone, under replaceFirst only one that looks like its successor", async () => {
    const zombie = (item: object): Slot => slot([row({ state: "TERMINATED" })], { items: [{ id: "web-0", ...item }] });
    const held = ["terminate web-0/1", "create web-0/2: fence"];
    const fenced = { judged: { observed: "complete", replacement: "fenceFirst" } } as const;
    const replacing = { judged: { observed: "complete" } } as const;
    expect(await lines([zombie({ incarnation: 1 })], fenced)).toEqual(held);
    expect(await lines([zombie({ incarnation: 1 })], replacing)).toEqual(["create web-0/2", "terminate web-0/1"]);
    expect(await lines([zombie({})], replacing)).toEqual(held);
  });
});
