import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { judge } from "../../src/reconcile/judge.ts";
import { isLive, matchItems, newestOf, type Slot } from "../../src/reconcile/slot.ts";
import type { Step } from "../../src/reconcile/step.ts";
import type { JudgeContext, Verdict } from "../../src/reconcile/verdict.ts";
import type { ResourceRow } from "../../src/store.ts";
import { anyCase, healthAt, NOW } from "./plan-arbitraries.ts";

const RUNS = { seed: 8, numRuns: Number(process.env["RUNS"] ?? 1_500) };

const stepsOf = ({ proposals }: Verdict): Step[] =>
  proposals.filter(({ heldBy }) => heldBy === undefined).map(({ step }) => step);
const isCreation = ({ type }: Step): boolean => type === "create" || type === "replace";
const isEnd = ({ type }: Step): boolean => type === "terminate" || type === "forceTerminate";
const isLeased = ({ leaseExpiresAt = 0 }: ResourceRow): boolean => leaseExpiresAt > NOW;

/** What it would be for another moment, all else the same. */
const at = (context: JudgeContext, nowMs: number): JudgeContext => ({ ...context, nowMs, healthOf: healthAt(nowMs) });

/** What is proposed, apart from how long something was silent by now. */
const kindOf = ({ proposals, settled }: Verdict): unknown => ({
  settled,
  proposals: proposals.map(({ step, heldBy, kind }) => {
    const { ifSilentForMs: _silence, ...shown } = { ifSilentForMs: 0, ...step };
    return { ...shown, heldBy, kind };
  }),
});

/** Whether the newest row is what is wanted, and works. */
function isFine({ wanted, ...rest }: Slot, { healthOf }: JudgeContext): boolean {
  const newest = newestOf({ wanted: {}, ...rest });
  if (newest?.state !== "PROVISIONED" || wanted === undefined) return false;
  const isUpdateOpen = newest.reason === "SpecChanged" && newest.attempt > 0;
  const item = matchItems(rest).byIncarnation.get(newest.incarnation);
  return newest.spec === wanted.spec && !isUpdateOpen && healthOf(newest, item).verdict === "fresh";
}

/** Whether everything is as it should be, as far as that is known: told another way than the judge does. */
function isAtRest(slot: Slot, context: JudgeContext): boolean {
  const { rows, wanted, items } = slot;
  const { strays, byIncarnation } = matchItems(slot);
  const isSeen = ({ incarnation }: ResourceRow): boolean => byIncarnation.has(incarnation);
  const zombies = rows.filter((one) => !isLive(one) && isSeen(one)).length + strays.length;
  if (wanted === undefined && context.desired === "partial")
    return rows.every(
      (one) =>
        one.state === "TERMINATED" ||
        one.state === "PENDING" ||
        (one.state === "PROVISIONED" && context.healthOf(one, byIncarnation.get(one.incarnation)).verdict === "fresh"),
    );
  if (wanted === undefined) return !rows.some(isLive) && items.length === 0;
  const newest = rows.at(-1);
  if (newest === undefined || !isFine(slot, context) || isLeased(newest)) return false;
  const isThere = context.observed === "ledger" || context.observed === "partial" || isSeen(newest);
  return isThere && zombies === 0 && rows.slice(0, -1).every((one) => !isLive(one));
}

describe("judge", () => {
  it("is settled if and only if nothing is to be done and nothing waited for", () => {
    fc.assert(
      fc.property(anyCase, ({ slot, context }) => {
        const verdict = judge(slot, context);
        expect(verdict.settled).toBe(isAtRest(slot, context));
        if (verdict.settled) expect(verdict.proposals).toEqual([]);
      }),
      RUNS,
    );
  });

  it("says when time alone changes what it finds, and not before that does anything change", () => {
    fc.assert(
      fc.property(anyCase, fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), ({ slot, context }, part) => {
        const verdict = judge(slot, context);
        const { nextAt } = verdict;
        if (nextAt !== undefined) expect(nextAt).toBeGreaterThan(NOW);
        const until = Math.min(nextAt ?? NOW + 10_000_000, NOW + 10_000_000);
        const before = judge(slot, at(context, NOW + Math.floor((until - NOW) * part)));
        expect(kindOf(before)).toEqual(kindOf(verdict));
        if (nextAt === undefined) return;
        const then = judge(slot, at(context, nextAt));
        expect({ ...(kindOf(then) as object), nextAt: then.nextAt }).not.toEqual({
          ...(kindOf(verdict) as object),
          nextAt,
        });
      }),
      RUNS,
    );
  });

  it("creates one at most, of a wanted id, and none while a creation is under way", () => {
    fc.assert(
      fc.property(anyCase, ({ slot, context }) => {
        const verdict = judge(slot, context);
        const creations = stepsOf(verdict).filter(isCreation);
        expect(verdict.proposals.filter(({ step }) => isCreation(step)).length).toBeLessThanOrEqual(1);
        if (creations.length === 0) return;
        expect(slot.wanted).toBeDefined();
        const newest = newestOf(slot);
        if (newest?.state === "PENDING") expect(isLeased(newest)).toBe(false);
        expect(isFine(slot, context) && context.observed === "ledger").toBe(false);
      }),
      RUNS,
    );
  });

  it("creates nothing under fenceFirst while another incarnation lives or is observed (I23)", () => {
    fc.assert(
      fc.property(anyCase, ({ slot, context }) => {
        for (const step of stepsOf(judge(slot, { ...context, replacement: "fenceFirst" })).filter(isCreation)) {
          if (!("how" in step)) throw new Error("a creation says how");
          const own = step.how === "again" ? step.row : step.gone;
          expect(slot.rows.filter((one) => isLive(one) && one.incarnation !== own?.incarnation)).toEqual([]);
          const items =
            step.how === "next"
              ? slot.items
              : slot.items.filter(({ incarnation = 9 }) => incarnation < (own?.incarnation ?? 0));
          expect(items).toEqual([]);
        }
      }),
      RUNS,
    );
  });

  it("ends no row that is wanted, newest, PROVISIONED, fresh and current", () => {
    fc.assert(
      fc.property(anyCase, ({ slot, context }) => {
        const newest = newestOf(slot);
        const ends = stepsOf(judge(slot, context)).filter((step) => isEnd(step) || step.type === "fail");
        if (isFine(slot, context)) expect(ends.filter((step) => "row" in step && step.row === newest)).toEqual([]);
        expect(
          new Set(
            ends.map((step) => JSON.stringify([step.type, step.incarnation, "externalId" in step && step.externalId])),
          ).size,
        ).toBe(ends.length);
      }),
      RUNS,
    );
  });

  it("ends only what is unwanted, replaced, failed, outdated, on its way out, or a zombie", () => {
    fc.assert(
      fc.property(anyCase, ({ slot, context }) => {
        const newest = newestOf(slot);
        for (const step of stepsOf(judge(slot, context)).filter(isEnd)) {
          const ended = "row" in step ? step.row : undefined;
          const isOld = ended !== newest && (newest?.state === "PROVISIONED" || context.replacement === "fenceFirst");
          const isOutdated =
            ended?.spec !== slot.wanted?.spec || (ended?.reason === "SpecChanged" && ended.attempt > 0);
          const mayGo =
            ended === undefined ||
            ended.state === "TERMINATING" ||
            ended.state === "TERMINATED" ||
            (slot.wanted === undefined && context.desired === "complete") ||
            (slot.wanted !== undefined &&
              (isOld || isOutdated || (ended.state === "FAILED" && context.replacement === "fenceFirst")));
          expect(mayGo).toBe(true);
        }
      }),
      RUNS,
    );
  });

  it("rests nothing on what a partial or unbelieved answer lacks", () => {
    fc.assert(
      fc.property(anyCase, ({ slot, context }) => {
        const steps = stepsOf(judge(slot, context));
        if (slot.wanted === undefined && context.desired !== "complete")
          for (const step of steps.filter((one) => isEnd(one) || one.type === "drop"))
            expect("row" in step && step.row !== undefined ? step.row.state : "stray").toMatch(/^TERMINAT/);
        if (context.observed !== "partial" && context.observed !== "unconfirmed") return;
        for (const step of steps) {
          if (step.type === "drop") expect(step.row.attempt).toBe(0);
          if ("how" in step && step.how === "next") {
            const rests =
              slot.rows.length === 0 ||
              newestOf(slot)?.state === "TERMINATED" ||
              newestOf(slot)?.state === "PROVISIONED";
            const isSilent = step.type === "replace";
            expect(rests && !isSilent).toBe(false);
            if (step.gone !== undefined) expect(step.gone.attempt).toBe(0);
          }
        }
      }),
      RUNS,
    );
  });

  it("leaves nothing of a slot that is unwanted: each live row is ended, or is on its way", () => {
    fc.assert(
      fc.property(anyCase, ({ slot: { wanted: _wanted, ...slot }, context }) => {
        const { proposals } = judge(slot, { ...context, desired: "complete" });
        for (const one of slot.rows.filter((each) => isLive(each) && each.state !== "TERMINATING" && !isLeased(each))) {
          const own = proposals.filter(({ step }) => "row" in step && step.row === one);
          expect(own.map(({ step: { type } }) => type === "drop" || type === "terminate")).toEqual([true]);
        }
      }),
      RUNS,
    );
  });

  it("finds the same of observed items in whatever order", () => {
    fc.assert(
      fc.property(anyCase, ({ slot, context }) => {
        const reversed = { ...slot, items: [...slot.items].reverse() };
        const known = new Set(judge(slot, context).proposals.map(({ step }) => JSON.stringify(step)));
        expect(new Set(judge(reversed, context).proposals.map(({ step }) => JSON.stringify(step)))).toEqual(known);
      }),
      RUNS,
    );
  });
});
