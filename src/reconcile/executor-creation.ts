import { isTerminalError } from "../resources/action-errors.ts";
import { actionKey } from "../resources/action-key.ts";
import { acceptCreateResult } from "../resources/create-result.ts";
import type { ResourceRow } from "../store.ts";
import { act, failureOf, grantOf, type Held, hold } from "./executor-effect.ts";
import type { Acting, Verdict } from "./executor-terms.ts";
import { change, changeHeld, make, unheld, verdictOf, type Written } from "./executor-writes.ts";
import type { Step } from "./step.ts";

export type CreationStep = Extract<Step, { type: "create" | "replace" }>;
type NextStep = Extract<CreationStep, { how: "next" }>;

/**
 * Ledger first: the row is PENDING, and with it the key of the creation is fixed, before `create` is called. A creation that was
 * interrupted, wherever that was, is repeated with the same key.
 */
export async function createResource<Spec>(acting: Acting<Spec>, step: CreationStep): Promise<Verdict> {
  const held = step.how === "next" ? await holdNext(acting, step) : await holdAgain(acting, step.row);
  return held.status === "ended" ? held.verdict : createHeld(acting, held);
}

async function holdNext<Spec>(acting: Acting<Spec>, step: NextStep) {
  const { gone, reason } = step;
  if (gone !== undefined && gone.state !== "TERMINATED") {
    const buried = await change(acting, gone, { state: "TERMINATED", reason });
    if (buried.status === "ended") return buried;
  }
  return hold(acting, () => makePending(acting, step));
}

function makePending<Spec>(acting: Acting<Spec>, { id, after, spec, generation, reason }: NextStep): Promise<Written> {
  return make(acting, {
    kind: "create",
    id,
    after,
    state: "PENDING",
    ...(spec === undefined ? {} : { spec }),
    generation,
    reason,
    attempt: 1,
    lease: grantOf(acting),
  });
}

async function holdAgain<Spec>(acting: Acting<Spec>, read: ResourceRow) {
  const free = await unheld(acting, read);
  if (free.status === "ended") return free;
  const { row } = free;
  return hold(acting, () =>
    change(acting, row, { state: "PENDING", attempt: row.attempt + 1, lease: grantOf(acting) }),
  );
}

async function createHeld<Spec>(acting: Acting<Spec>, held: Held): Promise<Verdict> {
  const { group, callbacks } = acting.terms;
  const { id, incarnation } = held.row;
  const result = await act(acting, held, {
    key: actionKey({ group, id, incarnation, action: "create" }),
    callback: callbacks.create,
  });
  switch (result.status) {
    case "ended":
      return result.verdict;
    case "returned":
      return recordCreated(acting, result.row, result.value);
    case "threw":
      return recordFailed(acting, result.row, result.error);
    case "aborted":
      // Whether anything was made is unknown, as after a crash. Whoever comes next goes on with the same key, and need not wait.
      return verdictOf(await changeHeld(acting, result.row, {}), failureOf(result));
    default:
      // Whether it was made is unknown: the row is held until the lease lapses, because the call may be under way still.
      return { ...failureOf(result), row: result.row };
  }
}

async function recordCreated<Spec>(acting: Acting<Spec>, row: ResourceRow, value: unknown): Promise<Verdict> {
  let externalId: string | undefined;
  try {
    externalId = acceptCreateResult("Reconciler", row.id, value ?? undefined).externalId;
  } catch (error) {
    return recordFailed(acting, row, error);
  }
  // No action is under way on it: the next one's attempts count from 1.
  return verdictOf(await changeHeld(acting, row, { state: "PROVISIONED", externalId, attempt: 0 }));
}

/** The row stays PENDING and nobody holds it, so that the next try need not wait. */
async function recordFailed<Spec>(acting: Acting<Spec>, row: ResourceRow, error: unknown): Promise<Verdict> {
  // Attempt 0 says that it is known that nothing was made.
  const attempt = isTerminalError(error) ? 0 : row.attempt;
  return verdictOf(await changeHeld(acting, row, { attempt }), { result: "failed", error });
}
