import { actionKey } from "../resources/action-key.ts";
import type { ResourceRow } from "../store.ts";
import { act, failureOf, grantOf, hold } from "./executor-effect.ts";
import type { Acting, Verdict } from "./executor-terms.ts";
import { change, changeHeld, unheld, verdictOf } from "./executor-writes.ts";
import type { Step } from "./step.ts";

/**
 * Brings a resource up to date in place. The row says the new spec once `update` has returned, not before; its reason and its attempts
 * say until then that nobody knows which spec the resource is of.
 */
export async function updateResource<Spec>(
  acting: Acting<Spec>,
  { row: read, spec, generation, reason }: Extract<Step, { type: "update" }>,
): Promise<Verdict> {
  const { group, callbacks } = acting.terms;
  const { update } = callbacks;
  if (update === undefined) throw new TypeError("A step updates a resource, and there is no update callback.");
  const free = await unheld(acting, read);
  if (free.status === "ended") return free.verdict;
  const attempt = free.row.attempt + 1;
  const held = await hold(acting, () =>
    change(acting, free.row, { state: "PROVISIONED", attempt, reason, lease: grantOf(acting) }),
  );
  if (held.status === "ended") return held.verdict;
  const { id, incarnation, generation: from } = held.row;
  const result = await act(acting, held, {
    key: actionKey({ group, id, incarnation, action: "update", from, spec }),
    callback: update,
    shown: withSpec(held.row, spec, generation),
  });
  if (result.status === "ended") return result.verdict;
  if (result.status === "returned")
    return verdictOf(await changeHeld(acting, result.row, { spec, generation, attempt: 0 }));
  return verdictOf(await changeHeld(acting, result.row, {}), failureOf(result));
}

function withSpec({ spec: _old, ...row }: ResourceRow, spec: string | undefined, generation: number): ResourceRow {
  return { ...row, generation, ...(spec === undefined ? {} : { spec }) };
}
