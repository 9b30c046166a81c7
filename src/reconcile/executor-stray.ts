import { isNotFound } from "../resources/action-errors.ts";
import { actionKey } from "../resources/action-key.ts";
import type { ActionContext, ResourceRecord } from "../resources/resource.ts";
import { bounded } from "./bounded.ts";
import { type TerminationStep, terminationOf } from "./executor-termination.ts";
import type { Acting, Verdict } from "./executor-terms.ts";

export type StrayTermination = Exclude<TerminationStep, { row: object }>;

/**
 * Ends a resource that no row is kept of. There is nothing to hold or to write, so two processes may both do it, with one key; the
 * store is asked only whether a higher epoch was there. Its fencing token is 0, lower than any that the group gave out.
 */
export async function terminateStray<Spec>(acting: Acting<Spec>, step: StrayTermination): Promise<Verdict> {
  const { terms, writer, signal: leadership, stop } = acting;
  const { gate, group, callbacks, clock, actionTimeoutMs } = terms;
  const { id, incarnation, externalId, type } = step;
  const callback = terminationOf(callbacks, type);
  if (!gate.isAllowed(id)) return { result: "fenced" };
  const admission = await writer.checkEpoch(id);
  if (admission.status === "fenced" || !gate.isAllowed(id)) return { result: "fenced" };
  const idempotencyKey = actionKey({ group, id, incarnation, action: type, externalId });
  const bounds = {
    clock,
    timeoutMs: actionTimeoutMs,
    timeoutMessage: `The action took longer than ${actionTimeoutMs} ms.`,
    ends: [leadership, stop],
  };
  const result = await bounded(bounds, (signal) => {
    const context: ActionContext = { idempotencyKey, fencingToken: 0, attempt: 1, signal };
    return callback(strayRecord(group, step), Object.freeze(context));
  });
  if (result.status === "returned") return { result: "done" };
  const { status, error } = result;
  if (status === "threw") return isNotFound(error) ? { result: "done" } : { result: "failed", error };
  return { result: "failed", error, timedOut: true };
}

/** What can be said of a resource that the ledger doesn't know. */
function strayRecord<Spec>(group: string, { id, incarnation, externalId, reason }: StrayTermination) {
  const record: ResourceRecord<Spec> = {
    group,
    id,
    incarnation,
    state: "TERMINATING",
    ...(externalId === undefined ? {} : { externalId }),
    generation: 0,
    createdAt: 0,
    reason,
    fencingToken: 0,
    version: 0,
  };
  return record;
}
