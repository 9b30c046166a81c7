import { describe, expect, it } from "vitest";
import { hasConverged, nextConditions, statusOf, statusText } from "../../src/reconcile/conditions.ts";

const CONVERGED = { status: true, reason: "AsDesired" };

describe("conditions", () => {
  it("begin with Converged alone, whether it holds or not", () => {
    expect(nextConditions([], { Converged: { status: false, reason: "InProgress" } }, 5)).toEqual([
      { type: "Converged", status: false, reason: "InProgress", since: 5 },
    ]);
  });

  it("appear once they hold, and stay as cleared", () => {
    const first = nextConditions([], { Converged: CONVERGED, Paused: { status: true, reason: "Paused" } }, 5);
    expect(first.map(({ type }) => type)).toEqual(["Converged", "Paused"]);
    const second = nextConditions(first, { Converged: CONVERGED }, 9);
    expect(second).toEqual([
      { type: "Converged", status: true, reason: "AsDesired", since: 5 },
      { type: "Paused", status: false, reason: "Cleared", since: 9 },
    ]);
    expect(nextConditions(second, { Converged: CONVERGED }, 12)).toEqual(second);
  });

  it("keep their since while their status stays, whatever the reason", () => {
    const first = nextConditions([], { Converged: { status: false, reason: "InProgress" } }, 5);
    const second = nextConditions(first, { Converged: { status: false, reason: "Held" } }, 9);
    expect(second).toEqual([{ type: "Converged", status: false, reason: "Held", since: 5 }]);
    expect(nextConditions(second, { Converged: CONVERGED }, 12)[0]).toMatchObject({ since: 12 });
  });

  it("come in one order, so that equal ones are equal texts", () => {
    const a = nextConditions([], { Paused: CONVERGED, Converged: CONVERGED, Fenced: CONVERGED }, 1);
    const b = nextConditions([], { Fenced: CONVERGED, Converged: CONVERGED, Paused: CONVERGED }, 1);
    expect(statusText({ observedGeneration: 1, conditions: a })).toBe(
      statusText({ observedGeneration: 1, conditions: b }),
    );
  });
});

describe("a group by its reconciler's last word", () => {
  it.each([
    ["has converged on what is desired", true, 3, true],
    ["has not, where another generation is desired", true, 4, false],
    ["has not, where the word is that it has not", false, 3, false],
  ])("%s", (_, status, generation, expected) => {
    const conditions = nextConditions([], { Converged: { status, reason: "AsSaid" } }, 5);
    expect(hasConverged({ observedGeneration: 3, conditions }, generation)).toBe(expected);
  });

  it("has not converged before there is one", () => {
    expect(hasConverged(statusOf(undefined), 0)).toBe(false);
  });
});

describe("the text of a status", () => {
  it("is read as it was written", () => {
    const status = { observedGeneration: 3, conditions: nextConditions([], { Converged: CONVERGED }, 7) };
    expect(statusOf(statusText(status))).toEqual(status);
    expect(statusOf(undefined)).toEqual({ observedGeneration: 0, conditions: [] });
  });

  it.each([
    [""],
    ["{"],
    ["null"],
    ["7"],
    ["{}"],
    ['{"observedGeneration":1.5,"conditions":[]}'],
    ['{"observedGeneration":1,"conditions":{}}'],
    ['{"observedGeneration":1,"conditions":[null]}'],
    ['{"observedGeneration":1,"conditions":[{"type":"Converged","status":1,"reason":"","since":0}]}'],
    ['{"observedGeneration":1,"conditions":[{"type":"Converged","status":true,"reason":"","since":"0"}]}'],
  ])("that was never written, %s, is RECORD_CORRUPT", (text) => {
    expect(() => statusOf(text)).toThrow(expect.objectContaining({ code: "RECORD_CORRUPT" }));
  });
});
