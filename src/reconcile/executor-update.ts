import { isTerminalError } from "../resources/action-errors.ts";
import { actionKey } from "../resources/action-key.ts";
import type { RowChange } from "../resources/row-writer.ts";
import type { ResourceRow } from "../store.ts";
import { act, type EffectResult, failureOf, grantOf, hold } from "./executor-effect.ts";
import type { Acting, Verdict } from "./executor-terms.ts";
import { change, changeHeld, unheld, verdictOf } from "./executor-writes.ts";
import { isUpdateOpen, UPDATE_REASON } from "./open-update.ts";
import type { Step } from "./step.ts";

type UpdateStep = Extract<Step, { type: "update" }>;

/**
 * Brings a resource up to date in place. The row has the new spec before `update` is called, under a generation of its own, and with
 * them the key is fixed; its reason and its attempts say until `update` has returned that nobody knows which spec the resource is of.
 */
export async function updateResource<Spec>(acting: Acting<Spec>, step: UpdateStep): Promise<Verdict> {
  const { group, callbacks } = acting.terms;
  const { update } = callbacks;
  if (update === undefined) throw new TypeError("A step updates a resource, and there is no update callback.");
  const free = await unheld(acting, step.row);
  if (free.status === "ended") return free.verdict;
  const { row: before } = free;
  const held = await hold(acting, () => change(acting, before, begun(acting, before, step)));
  if (held.status === "ended") return held.verdict;
  const { id, incarnation, generation, spec } = held.row;
  const key = actionKey({ group, id, incarnation, action: "update", generation, spec });
  const result = await act(acting, held, { key, callback: update });
  if (result.status === "ended") return result.verdict;
  if (result.status === "returned") return verdictOf(await changeHeld(acting, result.row, { attempt: 0 }));
  return verdictOf(await changeHeld(acting, result.row, afterFailure(result, before)), failureOf(result));
}

/** The same target again is the same update; another one has a generation that the row has not had, and so a key of its own. */
function begun<Spec>(acting: Acting<Spec>, row: ResourceRow, { spec, generation }: UpdateStep): RowChange {
  const always = { state: "PROVISIONED", reason: UPDATE_REASON, lease: grantOf(acting) } as const;
  if (isUpdateOpen(row) && row.spec === spec) return { ...always, attempt: row.attempt + 1 };
  return { ...always, spec, generation: Math.max(generation, row.generation + 1), attempt: 1 };
}

/** Nothing was done, if the callback says so: then it is what it was, unless that is not known either. */
function afterFailure({ status, error }: EffectResult & { readonly error?: unknown }, before: ResourceRow): RowChange {
  if (status !== "threw" || !isTerminalError(error) || isUpdateOpen(before)) return {};
  const { spec, generation, reason } = before;
  return { spec, generation, reason, attempt: 0 };
}
