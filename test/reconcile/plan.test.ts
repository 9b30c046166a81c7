import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { disruptionBudget } from "../../src/reconcile/disruption-budget.ts";
import { judge } from "../../src/reconcile/judge.ts";
import { type Composition, compose, type PlanContext } from "../../src/reconcile/plan.ts";
import { isLive, matchItems, type Slot } from "../../src/reconcile/slot.ts";
import type { Step } from "../../src/reconcile/step.ts";
import type { Verdict } from "../../src/reconcile/verdict.ts";
import { anyGroup, judgeContext, NOW, planContext, row, slot, unwanted } from "./plan-arbitraries.ts";

const RUNS = { seed: 9, numRuns: Number(process.env["RUNS"] ?? 1_000) };

type Group = typeof anyGroup extends fc.Arbitrary<infer One> ? One : never;

function verdictsOf({ slots, context }: Group): Verdict[] {
  return slots.map((one: Slot) => judge(one, context));
}

function contextOf({ slots, plan, blockedBy, creationAt, others }: Group): PlanContext {
  return planContext({
    ...plan,
    live: slots.filter(({ rows }) => rows.some(isLive)).length,
    desired: slots.filter(({ wanted }) => wanted !== undefined).length,
    owns: (id) => id !== others,
    ...(blockedBy === undefined ? {} : { blockedBy }),
    ...(creationAt === undefined ? {} : { creationAt }),
  });
}

const planned = (group: Group): Promise<Composition> => compose(verdictsOf(group), contextOf(group));
const ofTypes = ({ steps }: Composition, ...types: Step["type"][]): Step[] =>
  steps.filter(({ type }) => types.includes(type));

describe("compose", () => {
  it("plans the same twice, and of slots and observed items in whatever order", async () => {
    await fc.assert(
      fc.asyncProperty(anyGroup, fc.infiniteStream(fc.nat()), async (group, chance) => {
        const once = await planned(group);
        expect(await planned(group)).toEqual(once);
        const slots = group.slots
          .map((one: Slot) => ({ ...one, items: [...one.items].reverse() }))
          .map((one) => ({ one, at: chance.next().value as number }))
          .sort((a, b) => a.at - b.at)
          .map(({ one }) => one);
        expect(await planned({ ...group, slots: slots as unknown as Group["slots"] })).toEqual(once);
      }),
      RUNS,
    );
  });

  it("creates no more than is missing or replaced, and never two for a slot", async () => {
    await fc.assert(
      fc.asyncProperty(anyGroup, async (group) => {
        const composition = await planned(group);
        const creations = ofTypes(composition, "create", "replace");
        expect(new Set(creations.map(({ id }) => id)).size).toBe(creations.length);
        const made = creations.filter((step) => "how" in step && step.how === "next").length;
        const { missing, stale, outdated } = composition.drift;
        expect(made).toBeLessThanOrEqual(missing + stale + outdated);
        expect(ofTypes(composition, "create").length).toBeLessThanOrEqual(
          missing + outdated + (creations.length - made),
        );
      }),
      RUNS,
    );
  });

  it("ends no more than is surplus, failed, outdated, replaced, on its way out, or a zombie", async () => {
    await fc.assert(
      fc.asyncProperty(anyGroup, async (group) => {
        const composition = await planned(group);
        const rows = group.slots.flatMap((one: Slot) => one.rows.slice(0, one.wanted === undefined ? 0 : -1));
        const onTheirWay = group.slots.flatMap((one: Slot) => one.rows).filter(({ state }) => state === "TERMINATING");
        const zombies = group.slots.reduce(
          (sum, one: Slot) => sum + matchItems(one).strays.length + one.rows.filter((each) => !isLive(each)).length,
          0,
        );
        const { surplus, stale, outdated } = composition.drift;
        const most = surplus + stale + outdated + rows.filter(isLive).length + onTheirWay.length + zombies;
        expect(ofTypes(composition, "terminate", "forceTerminate").length).toBeLessThanOrEqual(most);
      }),
      RUNS,
    );
  });

  it("keeps to the bounds: actions of a pass, disruptions, replacements of many, slots of others", async () => {
    await fc.assert(
      fc.asyncProperty(anyGroup, async (group) => {
        const composition = await planned(group);
        const { steps, mass } = composition;
        const verdicts = verdictsOf(group);
        const context = contextOf(group);
        expect(steps.length).toBeLessThanOrEqual(context.maxActions);
        if (group.blockedBy !== undefined) expect(steps).toEqual([]);
        expect(steps.filter(({ id }) => !context.owns(id))).toEqual([]);
        const voluntary = new Set(
          verdicts
            .flatMap(({ proposals }) => proposals.filter(({ kind }) => kind === "voluntary"))
            .map(({ step }) => step),
        );
        const unavailable = verdicts.filter(({ disrupted, settled }) => disrupted && !settled).length;
        const budget = disruptionBudget({
          maxUnavailable: context.maxUnavailable,
          desired: context.desired,
          unavailable,
        });
        expect(steps.filter((step) => voluntary.has(step)).length).toBeLessThanOrEqual(budget);
        const replaced = new Set(
          verdicts.flatMap(({ proposals }) => proposals.filter(({ kind }) => kind === "stale")).map(({ step }) => step),
        );
        const slots = new Set(steps.filter((step) => replaced.has(step)).map(({ id }) => id));
        if (mass.mode !== "off") expect(slots.size).toBeLessThanOrEqual(mass.mode === "hold" ? 0 : 1);
        if ((group.creationAt ?? 0) > NOW) expect(ofTypes(composition, "create", "replace")).toEqual([]);
      }),
      RUNS,
    );
  });

  it("loses nothing: what is proposed is planned or held", async () => {
    await fc.assert(
      fc.asyncProperty(anyGroup, async (group) => {
        const { steps, held, unlisted, isSettled } = await planned(group);
        const verdicts = verdictsOf(group);
        const proposals = verdicts.flatMap((verdict) => verdict.proposals);
        expect(steps.length + held.length + unlisted).toBe(proposals.length);
        expect(isSettled).toBe(verdicts.every(({ settled }) => settled));
      }),
      RUNS,
    );
  });

  it("scales to zero: it ends all of ours and only that", async () => {
    await fc.assert(
      fc.asyncProperty(anyGroup, async (group) => {
        const slots = group.slots.map((one: Slot) =>
          unwanted({ ...one, rows: one.rows.map(({ leaseExpiresAt: _lease, ...each }) => each) }),
        );
        const context = judgeContext({ ...group.context, desired: "complete", retryOf: () => undefined });
        const owns = (id: string): boolean => id !== "web-1";
        const { steps } = await compose(
          slots.map((one) => judge(one, context)),
          planContext({ owns }),
        );
        expect(
          steps.filter(({ type }) => type !== "terminate" && type !== "forceTerminate" && type !== "drop"),
        ).toEqual([]);
        expect(steps.filter(({ id }) => !owns(id))).toEqual([]);
        const ended = new Set(steps.map(({ id, incarnation }) => `${id}/${incarnation}`));
        const live = slots
          .filter(({ id }) => owns(id))
          .flatMap(({ rows }) => rows.filter((one) => isLive(one) && one.state !== "TERMINATING"));
        for (const { id, incarnation } of live) expect(ended).toContain(`${id}/${incarnation}`);
      }),
      RUNS,
    );
  });
});

describe("the order of what is done", () => {
  const planOf = async (slots: readonly Slot[], context: Partial<PlanContext> = {}): Promise<string[]> => {
    const { steps } = await compose(
      slots.map((one) => judge(one, judgeContext())),
      planContext(context),
    );
    return steps.map(({ type, id, incarnation }) => `${type} ${id}/${incarnation}`);
  };
  const surplus = (id: string, fields: Parameters<typeof row>[0] = {}, lastCost = 0): Slot =>
    unwanted(slot([row({ id, ...fields })], { lastCost }));

  it("ranks the surplus: state, silence, deletion cost, generation, youth, id, incarnation", async () => {
    const silent = { lastHeartbeatAt: NOW - 30_001 };
    const slots = [
      surplus("web-1"),
      surplus("web-2"),
      surplus("web-10"),
      surplus("web-3", { createdAt: NOW - 99_999 }),
      surplus("web-4", { generation: 0 }),
      surplus("web-5", {}, -1),
      surplus("web-6", silent, 3),
      surplus("web-7", { state: "FAILED" }, 9),
      surplus("web-8", { state: "PENDING" }, 9),
      unwanted(
        slot([
          row({ id: "web-0", incarnation: 1, state: "FAILED", createdAt: 5 }),
          row({ id: "web-0", incarnation: 2, state: "FAILED", createdAt: 5 }),
        ]),
      ),
    ];
    expect(await planOf(slots)).toEqual([
      "terminate web-8/1",
      "terminate web-0/2",
      "terminate web-0/1",
      "terminate web-7/1",
      "terminate web-6/1",
      "terminate web-5/1",
      "terminate web-4/1",
      "terminate web-3/1",
      "terminate web-10/1",
      "terminate web-2/1",
      "terminate web-1/1",
    ]);
  });

  it("ranks by an order of the user's first, which sees the spec", async () => {
    const slots = [
      surplus("web-1", { spec: '"z"' }),
      surplus("web-2", { spec: '"a"' }),
      surplus("web-3", { spec: '"z"' }),
    ];
    const specOf = ({ resource }: { resource: { spec?: unknown } }): string => String(resource.spec);
    const order = await planOf(slots, {
      surplus: (a, b) => (specOf(a) < specOf(b) ? -1 : specOf(a) > specOf(b) ? 1 : 0),
    });
    expect(order).toEqual(["terminate web-2/1", "terminate web-3/1", "terminate web-1/1"]);
  });

  it("ends surplus whose spec can't be read, where nobody asks for it", async () => {
    expect(await planOf([surplus("web-1", { spec: "{damaged" })])).toEqual(["terminate web-1/1"]);
  });

  it("writes first, then replaces the silent, creates, ends, and renews", async () => {
    const slots = [
      slot([row({ id: "web-4", spec: '"old"' })]),
      surplus("web-3"),
      slot([], { id: "web-2" }),
      slot([row({ id: "web-1", lastHeartbeatAt: NOW - 30_001 })]),
      surplus("web-0", { state: "PENDING", attempt: 0 }),
    ];
    expect(await planOf(slots, { maxUnavailable: 2 })).toEqual([
      "drop web-0/1",
      "fail web-1/1",
      "replace web-1/2",
      "create web-2/1",
      "terminate web-3/1",
      "replace web-4/2",
    ]);
  });

  it("creates what has failed most often last", async () => {
    const missing = ["web-0", "web-1", "web-2", "web-10"].map((id) => slot([], { id }));
    const failuresOf = (key: string): number => (key === "create/web-1" ? 2 : key === "create/web-0" ? 1 : 0);
    expect(await planOf(missing, { failuresOf })).toEqual([
      "create web-2/1",
      "create web-10/1",
      "create web-0/1",
      "create web-1/1",
    ]);
  });
});
