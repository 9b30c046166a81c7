import { describe, expect, it } from "vitest";
import { resourceOf } from "../../src/resources/resource-of.ts";
import { assertTransition, isResourceState, TRANSITIONS } from "../../src/resources/resource-state.ts";
import type { ResourceRow, ResourceState } from "../../src/store.ts";

const STATES = Object.keys(TRANSITIONS) as ResourceState[];

/** All that may happen, written down a second time and by hand. */
const LEGAL = [
  "PENDING > PROVISIONED",
  "PENDING > TERMINATING",
  "PENDING > TERMINATED",
  "PROVISIONED > FAILED",
  "PROVISIONED > TERMINATING",
  "PROVISIONED > TERMINATED",
  "FAILED > TERMINATING",
  "FAILED > TERMINATED",
  "TERMINATING > TERMINATED",
];

describe("the states of a resource", () => {
  const pairs = STATES.flatMap((from) => STATES.map((to) => [from, to] as const));

  it.each(pairs)("from %s to %s", (from, to) => {
    const move = () => assertTransition(from, to);
    if (from === to || LEGAL.includes(`${from} > ${to}`)) expect(move).not.toThrow();
    else
      expect(move).toThrow(
        expect.objectContaining({
          code: "ILLEGAL_TRANSITION",
          retryable: false,
          message: `A resource can't go from ${from} to ${to}.`,
        }),
      );
  });

  it.each(STATES)("may begin as %s only where that is PENDING, PROVISIONED or TERMINATED", (state) => {
    const move = () => assertTransition(undefined, state);
    if (["PENDING", "PROVISIONED", "TERMINATED"].includes(state)) expect(move).not.toThrow();
    else expect(move).toThrow(`A resource can't begin as ${state}.`);
  });

  it("never lead back: every way ends in TERMINATED", () => {
    const reachable = (from: ResourceState, seen: readonly ResourceState[]): boolean =>
      !seen.includes(from) && TRANSITIONS[from].every((to) => reachable(to, [...seen, from]));
    expect(STATES.every((state) => reachable(state, []))).toBe(true);
  });

  it.each(["pending", "", "constructor", undefined, 7])("do not include %j", (value) => {
    expect(isResourceState(value)).toBe(false);
  });
});

describe("a row", () => {
  const full: ResourceRow = {
    group: "workers",
    id: "web-1",
    incarnation: 2,
    state: "TERMINATED",
    spec: '{"size":{"$bigint":"5"}}',
    externalId: "vm-1",
    generation: 3,
    reason: "Surplus",
    attempt: 1,
    fencingToken: 9,
    createdAt: 1,
    stateChangedAt: 4,
    provisionedAt: 2,
    lastHeartbeatAt: 3,
    terminatedAt: 4,
    leaseExpiresAt: 5,
    version: 6,
    readAt: 7,
  };

  it("becomes the record of a user, with its spec decoded and without what only the ledger needs", () => {
    expect(resourceOf(full)).toEqual({
      group: "workers",
      id: "web-1",
      incarnation: 2,
      state: "TERMINATED",
      spec: { size: 5n },
      externalId: "vm-1",
      generation: 3,
      reason: "Surplus",
      fencingToken: 9,
      createdAt: 1,
      provisionedAt: 2,
      lastHeartbeatAt: 3,
      terminatedAt: 4,
      version: 6,
    });
  });

  it("becomes a new record each time", () => {
    const record = resourceOf<{ size: unknown }>(full);
    (record.spec as { size: unknown }).size = 0;
    expect(resourceOf(full)).not.toBe(record);
    expect(resourceOf(full).spec).toEqual({ size: 5n });
  });

  it("has no field for what it lacks", () => {
    const { group, id, incarnation, state, generation, attempt, fencingToken, createdAt, stateChangedAt, ...rest } =
      full;
    const { version, readAt } = rest;
    const bare = { group, id, incarnation, state, generation, attempt, fencingToken, createdAt, stateChangedAt };
    const record = resourceOf({ ...bare, version, readAt });
    expect(Object.keys(record)).not.toEqual(expect.arrayContaining(["spec"]));
    expect(Object.values(record)).not.toContain(undefined);
  });

  it.each([
    ["state", "GONE"],
    ["state", undefined],
    ["incarnation", -1],
    ["incarnation", 0],
    ["incarnation", 1.5],
    ["generation", -1],
    ["generation", "3"],
    ["version", 0],
    ["fencingToken", Number.NaN],
    ["createdAt", undefined],
    ["createdAt", "now"],
    ["lastHeartbeatAt", Number.NaN],
    ["terminatedAt", null],
    ["leaseExpiresAt", Number.POSITIVE_INFINITY],
    ["readAt", undefined],
    ["spec", { size: 1 }],
    ["externalId", 7],
    ["reason", 7],
    ["group", ""],
  ])("whose %s is %j is RECORD_CORRUPT", (field, value) => {
    const read = () => resourceOf({ ...full, [field]: value } as never);
    const message = expect.stringContaining(`the resource "web-1" has no valid ${field}`);
    expect(read).toThrow(expect.objectContaining({ code: "RECORD_CORRUPT", message }));
  });

  it.each([undefined, 7, "", "a\nb"])("without a name (%j) is RECORD_CORRUPT, and the error has no such name", (id) => {
    expect(() => resourceOf({ ...full, id } as never)).toThrow(/a resource has no valid id\./);
  });

  it.each(["{", '{"$unknown":1}', '{"$bigint":"x"}'])(
    "with the damaged spec %s is RECORD_CORRUPT, and does not tell it",
    (spec) => {
      try {
        resourceOf({ ...full, spec });
        expect.unreachable();
      } catch (error) {
        expect(error).toMatchObject({ code: "RECORD_CORRUPT", message: expect.stringContaining('"web-1"') });
        expect((error as Error).message).not.toContain(spec);
      }
    },
  );
});
