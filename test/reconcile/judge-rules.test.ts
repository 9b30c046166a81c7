import { describe, expect, it } from "vitest";
import { judge } from "../../src/reconcile/judge.ts";
import { matchItems, type Slot } from "../../src/reconcile/slot.ts";
import type { JudgeContext } from "../../src/reconcile/verdict.ts";
import { GRACE, judgeContext, NOW, row, slot, unwanted } from "./plan-arbitraries.ts";

/** What is proposed, as `type id/incarnation reason: heldBy`. */
function lines(one: Slot, context: Partial<JudgeContext> = {}): string[] {
  return judge(one, judgeContext(context)).proposals.map(
    ({ step: { type, incarnation, reason }, heldBy }) =>
      `${type} ${incarnation} ${reason}${heldBy === undefined ? "" : `: ${heldBy}`}`,
  );
}

const OWN = { observed: "complete" } as const;
const seen = (...items: object[]) => ({ items: items.map((item) => ({ id: "web-0", ...item })) });
const old = row({ incarnation: 1, state: "FAILED", reason: "HeartbeatStale" });

describe("a creation that was interrupted", () => {
  it("is waited for while its lease runs, and repeated at the moment when that has lapsed", () => {
    const pending = (leaseExpiresAt: number): Slot => slot([row({ state: "PENDING", leaseExpiresAt })]);
    const verdict = judge(pending(NOW + 1), judgeContext());
    expect(verdict).toMatchObject({ proposals: [], settled: false, nextAt: NOW + 1 });
    expect(lines(pending(NOW))).toEqual(["create 1 Missing"]);
  });

  it("is not repeated with a spec that is not wanted any more: what was never made is made anew, else it is ended", () => {
    const pending = (attempt: number): Slot =>
      slot([row({ state: "PENDING", attempt, spec: '"bad"' })], { wanted: { spec: '"good"' } });
    const [made] = judge(pending(0), judgeContext()).proposals;
    expect(made?.step).toMatchObject({ type: "create", incarnation: 2, spec: '"good"', gone: { incarnation: 1 } });
    expect(lines(pending(1))).toEqual(["terminate 1 SpecChanged"]);
  });

  it("is not dropped without a call because it is not observed yet: it may have been tried a moment ago", () => {
    const pending = unwanted(slot([row({ state: "PENDING", attempt: 3, createdAt: NOW - 90_000 })]));
    expect(lines(pending, OWN)).toEqual(["terminate 1 Surplus"]);
    const lapsed = (ms: number): Slot => unwanted(slot([row({ state: "PENDING", leaseExpiresAt: NOW - ms })]));
    expect(lines(lapsed(GRACE - 1), OWN)).toEqual(["terminate 1 Surplus"]);
    expect(lines(lapsed(GRACE), OWN)).toEqual(["drop 1 Surplus"]);
  });

  it("is dropped without a call where nothing was made, unless it is seen all the same", () => {
    const refused = unwanted(slot([row({ state: "PENDING", attempt: 0 })]));
    expect(lines(refused)).toEqual(["drop 1 Surplus"]);
    expect(lines({ ...refused, ...seen({ incarnation: 1 }) }, OWN)).toEqual(["terminate 1 Surplus"]);
  });
});

describe("what is not observed", () => {
  it("is made anew, once the row has been there for the grace of observe", () => {
    expect(lines(slot([row()]), OWN)).toEqual(["create 2 NotObserved"]);
    expect(lines(slot([row()]), { observed: "partial" })).toEqual([]);
    expect(lines(slot([row()]))).toEqual([]);
  });

  it("is marked TERMINATED first where its slot backs off, so that the backoff runs from there", () => {
    const before = row({
      state: "TERMINATED",
      reason: "NotObserved",
      provisionedAt: NOW - 99_000,
      stateChangedAt: NOW - 91_000,
    });
    const gone = row({ incarnation: 2 });
    expect(lines(slot([before, gone]), OWN)).toEqual(["drop 2 NotObserved", "create 3 NotObserved: backoff"]);
    const buried = { ...gone, state: "TERMINATED", reason: "NotObserved", stateChangedAt: NOW - 12_000 } as const;
    expect(lines(slot([before, buried]), OWN)).toEqual(["create 3 Missing"]);
  });

  it("does not cost its predecessor the life before it is made anew", () => {
    const predecessor = row({ spec: '"old"' });
    const slots = slot([predecessor, row({ incarnation: 2 })], seen({ incarnation: 1 }));
    expect(lines(slots, OWN)).toEqual(["create 3 NotObserved"]);
  });
});

describe("a replacement", () => {
  it("is made before its predecessor goes, which goes once it stands", () => {
    expect(lines(slot([old]))).toEqual(["replace 2 HeartbeatStale"]);
    const coming = row({ incarnation: 2, state: "PENDING", reason: "HeartbeatStale" });
    expect(lines(slot([old, coming]))).toEqual(["replace 2 HeartbeatStale"]);
    expect(lines(slot([old, row({ incarnation: 2 })]))).toEqual(["terminate 1 HeartbeatStale"]);
  });

  it("is fenced: under fenceFirst every other incarnation goes first, whatever the newest is", () => {
    const fenced = { replacement: "fenceFirst" } as const;
    expect(lines(slot([old]), fenced)).toEqual(["terminate 1 HeartbeatStale"]);
    const pending = row({ incarnation: 2, state: "PENDING" });
    expect(lines(slot([old, pending]), fenced)).toEqual(["replace 2 Missing: fence", "terminate 1 HeartbeatStale"]);
    const tombstone = row({ incarnation: 2, state: "TERMINATED" });
    expect(lines(slot([old, tombstone]), fenced)).toEqual(["create 3 Missing: fence", "terminate 1 HeartbeatStale"]);
  });

  it("says under fenceFirst too that it is made for silence", () => {
    const tombstone = row({ state: "TERMINATED", reason: "HeartbeatStale" });
    expect(lines(slot([tombstone]), { replacement: "fenceFirst" })).toEqual(["create 2 HeartbeatStale"]);
  });
});

describe("a new spec", () => {
  const outdated = slot([row({ spec: '"a"' })], { wanted: { spec: '"b"' } });

  it("updates in place, or replaces", () => {
    expect(lines(outdated, { canUpdate: true })).toEqual(["update 1 SpecChanged"]);
    expect(lines(outdated)).toEqual(["replace 2 SpecChanged"]);
    expect(lines(outdated, { replacement: "fenceFirst" })).toEqual(["terminate 1 SpecChanged"]);
  });

  it("waits for whoever acts on the row", () => {
    const held = slot([row({ spec: '"a"', leaseExpiresAt: NOW + 5 })], { wanted: { spec: '"b"' } });
    expect(judge(held, judgeContext({ canUpdate: true }))).toMatchObject({
      proposals: [],
      settled: false,
      nextAt: NOW + 5,
      disrupted: true,
    });
  });

  it("is gone back on after an update that may have been half done", () => {
    const open = slot([row({ spec: '"a"', reason: "SpecChanged", attempt: 1 })], { wanted: { spec: '"a"' } });
    expect(lines(open, { canUpdate: true })).toEqual(["update 1 SpecChanged"]);
  });
});

describe("an end", () => {
  const leaving = (ms: number): Slot =>
    unwanted(slot([row({ state: "TERMINATING", stateChangedAt: NOW - ms })], seen({ incarnation: 1 })));

  it("is asked for once, and again, or harder, after the grace period", () => {
    const accepted = { ...OWN, acceptedAt: () => NOW - 5 };
    expect(lines(leaving(GRACE - 1), OWN)).toEqual(["terminate 1 Surplus"]);
    expect(judge(leaving(GRACE - 1), judgeContext(accepted))).toMatchObject({
      proposals: [],
      settled: false,
      nextAt: NOW + 1,
    });
    expect(lines(leaving(GRACE), accepted)).toEqual(["terminate 1 Surplus"]);
    expect(lines(leaving(GRACE), { ...accepted, canForce: true })).toEqual(["forceTerminate 1 Surplus"]);
  });

  it("is known to have come when a complete observation lacks it", () => {
    expect(lines({ ...leaving(5), items: [] }, OWN)).toEqual(["drop 1 Surplus"]);
    expect(lines({ ...leaving(5), items: [] }, { observed: "partial" })).toEqual(["terminate 1 Surplus"]);
  });

  it("of a zombie leaves its tombstone alone while somebody ends it", () => {
    const zombie = (leaseExpiresAt: number): Slot =>
      unwanted(slot([row({ state: "TERMINATED", leaseExpiresAt })], seen({ incarnation: 1 })));
    expect(lines(zombie(NOW), OWN)).toEqual(["terminate 1 Zombie"]);
    expect(judge(zombie(NOW + 9), judgeContext(OWN))).toMatchObject({ proposals: [], settled: false, nextAt: NOW + 9 });
  });
});

describe("whose an observed item is", () => {
  const rows = [old, row({ incarnation: 2 })];
  const owners = (...items: object[]): number[] =>
    [...matchItems({ rows, ...seen(...items) }).byIncarnation.keys()].sort();

  it("by incarnation, then by external id, and otherwise the newest", () => {
    expect(owners({ incarnation: 1 }, { externalId: "x2" })).toEqual([1, 2]);
    expect(owners({})).toEqual([2]);
    expect(owners({ externalId: "strange" })).toEqual([2]);
    expect(owners({ incarnation: 9 })).toEqual([2]);
    expect(matchItems({ rows, ...seen({ incarnation: 2 }, { externalId: "strange" }) }).strays).toEqual([
      { incarnation: 2, externalId: "strange" },
    ]);
  });

  it("a resource that was adopted under another incarnation is known by its external id", () => {
    const adopted = slot([row({ incarnation: 1, externalId: "x9" })], seen({ incarnation: 4, externalId: "x9" }));
    expect(judge(adopted, judgeContext(OWN)).settled).toBe(true);
  });

  it("one item that says nothing but its id proves no other incarnation gone, until that has agreed to go", () => {
    const both = slot(rows, seen({}));
    expect(lines(both, OWN)).toEqual(["terminate 1 HeartbeatStale"]);
    const leaving = slot([{ ...old, state: "TERMINATING" }, row({ incarnation: 2 })], seen({}));
    expect(lines(leaving, OWN)).toEqual(["terminate 1 HeartbeatStale"]);
    expect(lines(leaving, { ...OWN, acceptedAt: () => NOW - 5 })).toEqual(["drop 1 HeartbeatStale"]);
  });
});

describe("what is not listed by a partial desired", () => {
  const unlisted = (state: "PENDING" | "PROVISIONED" | "FAILED" | "TERMINATING", fields = {}): Slot =>
    unwanted(slot([row({ state, ...fields })]));
  const partial = { desired: "partial" } as const;

  it("is neither created nor ended; silence is shown, and what is on its way out goes on", () => {
    expect(lines(unlisted("PENDING"), partial)).toEqual([]);
    expect(lines(unlisted("PROVISIONED"), partial)).toEqual([]);
    expect(judge(unlisted("FAILED"), judgeContext(partial))).toMatchObject({ proposals: [], settled: false });
    expect(lines(unlisted("PROVISIONED", { lastHeartbeatAt: NOW - 30_001 }), partial)).toEqual([
      "fail 1 HeartbeatStale: unknown",
    ]);
    expect(lines(unlisted("TERMINATING"), partial)).toEqual(["terminate 1 Surplus"]);
  });
});

describe("what is observed and in no row", () => {
  it("is adopted where it is wanted, and ended where it is not", () => {
    expect(lines(slot([], seen({ externalId: "x7" })), OWN)).toEqual(["adopt 1 Observed"]);
    expect(lines(unwanted(slot([], seen({ externalId: "x7" }))), OWN)).toEqual(["terminate 0 Zombie"]);
  });
});
