import { isNotFound } from "../resources/action-errors.ts";
import { actionKey } from "../resources/action-key.ts";
import type { ResourceRow } from "../store.ts";
import { act, failureOf, grantOf, hold } from "./executor-effect.ts";
import type { Acting, ActionCallbacks, Verdict } from "./executor-terms.ts";
import { change, changeHeld, unheld, verdictOf } from "./executor-writes.ts";
import type { Step } from "./step.ts";

export type TerminationStep = Extract<Step, { type: "terminate" | "forceTerminate" }>;
export type RowTermination = Extract<TerminationStep, { row: ResourceRow }>;

/**
 * Ends a resource that has a row: TERMINATING before the callback, which is repeated with the same key until it has returned or says
 * that nothing is there.
 */
export async function terminateResource<Spec>(acting: Acting<Spec>, step: RowTermination): Promise<Verdict> {
  const callback = terminationOf(acting.terms.callbacks, step.type);
  const free = await unheld(acting, step.row);
  if (free.status === "ended") return free.verdict;
  const held = await hold(acting, () => change(acting, free.row, begun(acting, free.row, step)));
  if (held.status === "ended") return held.verdict;
  const { row } = held;
  const timeoutMs = timeLeft(acting, row, step.type);
  // By the store's clock it is the other callback's time, whatever the planner's said.
  if (timeoutMs === "notNow") return verdictOf(await changeHeld(acting, row, {}), { result: "lost" });
  const { id, incarnation } = row;
  const key = actionKey({ group: acting.terms.group, id, incarnation, action: step.type });
  const result = await act(acting, held, { key, callback, timeoutMs });
  if (result.status === "ended") return result.verdict;
  // That nothing is there is as good as that it was ended.
  if (result.status === "returned" || (result.status === "threw" && isNotFound(result.error)))
    return recordEnded(acting, result.row);
  // Calling again with the same key does no harm, so that nobody need wait for the lease.
  return verdictOf(await changeHeld(acting, result.row, {}), failureOf(result));
}

/** The callback of a step's type. */
export function terminationOf<Spec>(callbacks: ActionCallbacks<Spec>, type: TerminationStep["type"]) {
  const callback = callbacks[type];
  if (callback === undefined) throw new TypeError(`A step is to ${type} a resource, and there is no such callback.`);
  return callback;
}

function begun<Spec>(acting: Acting<Spec>, row: ResourceRow, { again, reason }: RowTermination) {
  const { state, attempt } = row;
  return {
    state: state === "TERMINATED" && again ? state : "TERMINATING",
    attempt: state === "TERMINATING" || state === "TERMINATED" ? attempt + 1 : 1,
    // What was wrong with it from the first, which decides how soon the next one is made, is not forgotten over its end.
    reason: state === "PENDING" || state === "PROVISIONED" ? reason : (row.reason ?? reason),
    lease: grantOf(acting),
  } as const;
}

/**
 * How long the callback may take. Where there is a `forceTerminate`, `terminate` has until the end of the grace period, and that
 * has until then to wait, by the store's clock.
 */
function timeLeft<Spec>(
  { terms }: Acting<Spec>,
  { state, readAt, stateChangedAt }: ResourceRow,
  type: TerminationStep["type"],
): number | "notNow" {
  const { actionTimeoutMs, terminateGraceMs, callbacks } = terms;
  const graceLeftMs = terminateGraceMs - (readAt - stateChangedAt);
  if (type === "forceTerminate") return graceLeftMs > 0 ? "notNow" : actionTimeoutMs;
  // The grace period of a row that was TERMINATED is long over, and begins anew with an observation that is not in the ledger.
  if (callbacks.forceTerminate === undefined || state === "TERMINATED") return actionTimeoutMs;
  return graceLeftMs > 0 ? Math.min(actionTimeoutMs, graceLeftMs) : "notNow";
}

async function recordEnded<Spec>(acting: Acting<Spec>, row: ResourceRow): Promise<Verdict> {
  const state = acting.terms.ownObserve ? row.state : "TERMINATED";
  return verdictOf(await changeHeld(acting, row, { state }));
}
