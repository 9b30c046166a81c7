import fc from "fast-check";
import type { PlanContext } from "../../src/reconcile/plan.ts";
import type { ObservedItem, Slot } from "../../src/reconcile/slot.ts";
import type { Health, JudgeContext } from "../../src/reconcile/verdict.ts";
import type { ResourceRow } from "../../src/store.ts";

export const NOW = 10_000_000;
export const GRACE = 30_000;
const STALE_MS = 30_000;

/** A row that is well, but for what is said of it. */
export function row(fields: Partial<ResourceRow> = {}): ResourceRow {
  const { incarnation = 1, state = "PROVISIONED" } = fields;
  return {
    group: "web",
    id: "web-0",
    incarnation,
    state,
    generation: 1,
    attempt: state === "PENDING" ? 1 : 0,
    fencingToken: 1,
    createdAt: NOW - 100_000,
    stateChangedAt: NOW - 90_000,
    ...(state === "PENDING"
      ? {}
      : { provisionedAt: NOW - 90_000, externalId: `x${incarnation}`, lastHeartbeatAt: NOW }),
    version: 3,
    readAt: NOW,
    ...fields,
  };
}

/** The slot of some rows of one id, at which something is wanted. */
export function slot(rows: readonly ResourceRow[], fields: Partial<Slot> = {}): Slot {
  return { id: rows[0]?.id ?? "web-0", rows, wanted: {}, items: [], ...fields };
}

/** The same slot with nothing wanted there. */
export function unwanted({ wanted: _wanted, ...rest }: Slot): Slot {
  return rest;
}

/** Over 30 s of silence, or of never having beaten, is too much; an item may say that it is ill. */
export function healthAt(nowMs: number): JudgeContext["healthOf"] {
  return ({ lastHeartbeatAt, provisionedAt = 0 }: ResourceRow, item: ObservedItem | undefined): Health => {
    if (item?.healthy === false) return { verdict: "stale", reason: "Unhealthy" };
    const silentAt = Math.max(lastHeartbeatAt ?? provisionedAt, item?.beatAt ?? 0) + STALE_MS + 1;
    if (nowMs < silentAt) return { verdict: "fresh", nextCheckAt: silentAt };
    return { verdict: "stale", reason: "HeartbeatStale", silentForMs: nowMs - silentAt + STALE_MS + 1 };
  };
}

export function judgeContext(fields: Partial<JudgeContext> = {}): JudgeContext {
  const { nowMs = NOW } = fields;
  return {
    nowMs,
    generation: 1,
    desired: "complete",
    observed: "ledger",
    replacement: "replaceFirst",
    canUpdate: false,
    canForce: false,
    terminateGraceMs: GRACE,
    observeGraceMs: GRACE,
    healthOf: healthAt(nowMs),
    retryOf: () => undefined,
    acceptedAt: () => undefined,
    ...fields,
  };
}

export function planContext(fields: Partial<PlanContext> = {}): PlanContext {
  return {
    nowMs: NOW,
    generation: 1,
    owns: () => true,
    isApproved: false,
    massGuard: { minRows: 10, minStale: 3, fraction: 0.5, replacementIntervalMs: 10_000 },
    live: 0,
    justReplaced: new Set(),
    maxUnavailable: "10%",
    desired: 0,
    maxActions: 500,
    failuresOf: () => 0,
    ...fields,
  };
}

// ------------------------------------------------------------------------------------------------ arbitraries

const past = fc.constantFrom(0, 1, 1_000, 29_999, 30_000, 30_001, 60_000, 700_000).map((ms) => NOW - ms);
const lease = fc.constantFrom(undefined, undefined, NOW - 40_000, NOW - 1, NOW, NOW + 1, NOW + 20_000);
const spec = fc.constantFrom(undefined, '"a"', '"b"');

const anyRow = fc.record({
  state: fc.constantFrom("PENDING" as const, "PROVISIONED", "PROVISIONED", "FAILED", "TERMINATING", "TERMINATED"),
  spec,
  attempt: fc.nat(2),
  reason: fc.constantFrom(undefined, "Missing", "Surplus", "HeartbeatStale", "NotObserved", "SpecChanged"),
  createdAt: past,
  stateChangedAt: past,
  provisionedAt: past,
  lastHeartbeatAt: fc.option(past, { nil: undefined }),
  leaseExpiresAt: lease,
  generation: fc.nat(2),
});

function rowsOf(id: string) {
  return fc.array(anyRow, { maxLength: 3 }).map((list) =>
    list.map((fields, index): ResourceRow => {
      const { provisionedAt, lastHeartbeatAt, ...others } = fields;
      const known = { provisionedAt, lastHeartbeatAt, externalId: `x${index + 1}` };
      const given = { ...others, ...(fields.state === "PENDING" ? {} : known) };
      const { state, createdAt, stateChangedAt, generation, attempt } = fields;
      const defined = Object.entries(given).filter(([, value]) => value !== undefined);
      const base = { group: "web", id, incarnation: index + 1, state, createdAt, stateChangedAt, generation, attempt };
      return { ...base, fencingToken: 1, version: 3, readAt: NOW, ...Object.fromEntries(defined) };
    }),
  );
}

function itemsOf(id: string): fc.Arbitrary<ObservedItem[]> {
  const identity = fc.constantFrom(
    {},
    { incarnation: 1 },
    { incarnation: 2 },
    { incarnation: 3 },
    { incarnation: 7 },
    { externalId: "x1" },
    { externalId: "x2" },
    { externalId: "y" },
    { externalId: "z" },
  );
  const item = fc
    .tuple(identity, fc.constantFrom(true, true, false))
    .map(([who, healthy]) => ({ id, ...who, healthy }));
  return fc.uniqueArray(item, { maxLength: 3, selector: ({ healthy: _healthy, ...who }) => JSON.stringify(who) });
}

/** One id, in whatever state, also in those that should never be. */
export function anySlot(id: string, observed: JudgeContext["observed"]): fc.Arbitrary<Slot> {
  return fc
    .record({
      id: fc.constant(id),
      rows: rowsOf(id),
      items: observed === "ledger" || observed === "unconfirmed" ? fc.constant([]) : itemsOf(id),
      lastCost: fc.nat(2),
      wanted: fc.option(
        spec.map((text) => (text === undefined ? {} : { spec: text })),
        { nil: undefined },
      ),
    })
    .map(({ wanted, ...rest }) => (wanted === undefined ? rest : { ...rest, wanted }));
}

/** A number that a key always has. */
function hashOf(key: string): number {
  return [...key].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 1_009, 7);
}

const retryTable = fc.array(
  fc.constantFrom(undefined, undefined, undefined, NOW - 1, NOW + 1, NOW + 50_000, "blocked" as const),
  {
    minLength: 5,
    maxLength: 5,
  },
);
const acceptedTable = fc.array(fc.constantFrom(undefined, undefined, NOW - 40_000, NOW - 30_000, NOW - 5), {
  minLength: 5,
  maxLength: 5,
});

/** Whatever may be the case while slots are judged. */
export const anyJudgeContext: fc.Arbitrary<JudgeContext> = fc
  .record({
    desired: fc.constantFrom("complete" as const, "complete", "partial", "unconfirmed"),
    observed: fc.constantFrom("ledger" as const, "complete", "partial", "unconfirmed"),
    replacement: fc.constantFrom("replaceFirst" as const, "fenceFirst"),
    canUpdate: fc.boolean(),
    canForce: fc.boolean(),
    graceUntil: fc.constantFrom(undefined, undefined, NOW - 1, NOW + 10_000),
    retries: retryTable,
    accepted: acceptedTable,
  })
  .map(({ graceUntil, retries, accepted, ...fields }) =>
    judgeContext({
      ...fields,
      ...(graceUntil === undefined ? {} : { graceUntil }),
      retryOf: (key) => retries[hashOf(key) % 5],
      acceptedAt: (key) => accepted[hashOf(key) % 5],
    }),
  );

/** A slot and what it is judged by. */
export const anyCase = anyJudgeContext.chain((context) =>
  anySlot("web-0", context.observed).map((one) => ({ slot: one, context })),
);

/** A whole group, and what it is judged and weighed by. */
export const anyGroup = anyJudgeContext.chain((context) =>
  fc.record({
    context: fc.constant(context),
    slots: fc
      .uniqueArray(fc.constantFrom("web-0", "web-1", "web-2", "web-9", "web-10", "web-01", "db", "10"), {
        maxLength: 8,
      })
      .chain((ids) => fc.tuple(...ids.map((id) => anySlot(id, context.observed)))),
    plan: fc.record({
      isApproved: fc.constantFrom(false, false, true),
      massGuard: fc.constantFrom(false as const, {
        minRows: 2,
        minStale: 1,
        fraction: 0.3,
        replacementIntervalMs: 10_000,
      }),
      maxUnavailable: fc.constantFrom(1, 2, "50%" as const),
      maxActions: fc.constantFrom(1, 2, 500),
    }),
    blockedBy: fc.constantFrom(undefined, undefined, undefined, "paused" as const, "notLeader" as const),
    creationAt: fc.constantFrom(undefined, undefined, NOW - 1, NOW + 5_000),
    others: fc.constantFrom(undefined, undefined, "web-1"),
  }),
);
