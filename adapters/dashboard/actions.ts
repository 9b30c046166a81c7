import { isEvenkeelError } from "../../src/errors.ts";
import { settleByForce } from "../../src/idempotency/settle-by-force.ts";
import type { PassReport } from "../../src/reconcile/planned.ts";
import type { Reconciler } from "../../src/reconcile/reconciler.ts";
import { dropRejection } from "../../src/rejections.ts";
import type { Problem } from "./answer.ts";
import type { DashboardSettings } from "./dashboard-options.ts";
import type { DashboardAction, DashboardApproved, DashboardPlan } from "./dashboard-update.ts";
import { heldOf, MOST_HELD } from "./group-look.ts";
import type { StoreReader } from "./store-reader.ts";

/** An approved pass is waited for so long; it goes on all the same. */
const PASS_PATIENCE_MS = 10_000;

/** What became of an action. */
export type ActionResult =
  | { readonly status: "done" | "underWay" }
  | { readonly status: "approved"; readonly approved: DashboardApproved }
  | { readonly problem: Problem };

/** Carries out what people ask for on the page. */
export interface Actions {
  /** @throws what the store did. */
  carryOut(action: DashboardAction): Promise<ActionResult>;
  /** What a pass would do now. @throws what the store did. */
  plan(group: string): Promise<{ readonly plan: DashboardPlan } | { readonly problem: Problem }>;
}

export function dashboardActions(settings: DashboardSettings, ask: StoreReader): Actions {
  const { reconcilers, clock, random } = settings;

  async function carryOut(action: DashboardAction): Promise<ActionResult> {
    if (action.type === "release") return release(action);
    const reconciler = reconcilers.get(action.group);
    if (reconciler === undefined) return { problem: NOT_HERE };
    switch (action.type) {
      case "pause":
        reconciler.pause();
        return { status: "done" };
      case "resume":
        reconciler.resume();
        return { status: "done" };
      case "wake":
        reconciler.wake(action.id);
        return { status: "done" };
      case "approve":
        return approve(reconciler, action.planHash);
    }
  }

  async function approve(reconciler: Reconciler, planHash: string): Promise<ActionResult> {
    const patience = new AbortController();
    const pass = reconciler.approve(planHash).then(approvedOf, (error: unknown): ActionResult => {
      if (isEvenkeelError(error) && error.code === "INVALID_OPTIONS") return { problem: ANOTHER_PLAN };
      throw error;
    });
    dropRejection(pass);
    const waited = clock.sleep(PASS_PATIENCE_MS, patience.signal).then((): ActionResult => ({ status: "underWay" }));
    dropRejection(waited);
    try {
      return await Promise.race([pass, waited]);
    } finally {
      patience.abort();
    }
  }

  /** Takes the record away from whoever holds it, and gives it to its next caller. */
  async function release({ id, token }: Extract<DashboardAction, { type: "release" }>): Promise<ActionResult> {
    const record = await ask((store, call) => store.executions.get(id, call));
    if (record === undefined) return { problem: NO_RECORD };
    const seen = { id, token, retentionMs: record.retentionMs };
    const result = await settleByForce(
      seen,
      { as: "released" },
      {
        random,
        ask: (send) => ask((store, call) => send(store.executions, call)),
      },
    );
    return result.status === "settled" ? { status: "done" } : { problem: NOT_RELEASED[result.status] };
  }

  return {
    carryOut,
    async plan(group) {
      const reconciler = reconcilers.get(group);
      if (reconciler === undefined) return { problem: NOT_HERE };
      const { hash, generation, actions, held } = await reconciler.plan();
      const shown = actions.slice(0, MOST_HELD).map(({ type, id, incarnation, reason }) => {
        return { type, id, incarnation, reason };
      });
      return { plan: { hash, generation, actions: shown, actionsTotal: actions.length, ...heldOf(held) } };
    },
  };
}

/** What became of an approved plan, which is nothing where this process may not act. */
function approvedOf({ actions, held }: PassReport): ActionResult {
  const mayNot = held.find(({ heldBy }) => heldBy === "paused" || heldBy === "notLeader")?.heldBy;
  if (actions.length === 0 && mayNot !== undefined) return { problem: mayNot === "paused" ? PAUSED : NOT_LEADER };
  const done = actions.filter(({ result }) => result === "done").length;
  return { status: "approved", approved: { done, failed: actions.length - done, held: held.length } };
}

const NOT_HERE: Problem = {
  status: 404,
  type: "group-not-here",
  title: "No reconciler of this group is here",
  detail: "The reconciler of this group runs in another process, or was not given to the dashboard.",
};
const ANOTHER_PLAN: Problem = {
  status: 409,
  type: "plan-changed",
  title: "The plan is another one by now",
  detail: "Nothing was done. Look at the plan again.",
};
const PAUSED: Problem = {
  status: 409,
  type: "group-paused",
  title: "The group is paused",
  detail: "Nothing was done, because the group is paused. Resume it, and look at the plan again.",
};
const NOT_LEADER: Problem = {
  status: 409,
  type: "not-leader",
  title: "Another copy leads",
  detail: "Nothing was done, because another copy leads. Approve it on the page of that one.",
};
const NO_RECORD: Problem = {
  status: 404,
  type: "execution-missing",
  title: "There is no such execution",
  detail: "It was released, or its retention is over.",
};
const COMPLETED: Problem = {
  status: 409,
  type: "execution-completed",
  title: "The execution is completed",
  detail: "Its outcome stands, and its retries get it.",
};
const ANOTHER_HOLDER: Problem = {
  status: 409,
  type: "execution-changed",
  title: "Somebody else holds the execution by now",
  detail: "Nothing was done. Look at it again.",
};
/** Its holder of before is stale from then on. */
const LOST_AGAIN: Problem = {
  ...ANOTHER_HOLDER,
  detail: "It was taken from its holder, and somebody else took it before it was released. Look at it again.",
};
const NOT_RELEASED = { missing: NO_RECORD, completed: COMPLETED, changed: ANOTHER_HOLDER, lost: LOST_AGAIN };
