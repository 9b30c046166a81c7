import type { Acting, Verdict } from "./executor-terms.ts";
import { change, make, verdictOf, type Written } from "./executor-writes.ts";
import { LOST_REASON } from "./lost-rows.ts";
import type { Step } from "./step.ts";

export type LedgerStep = Extract<Step, { type: "fail" | "drop" | "adopt" }>;
type AdoptStep = Extract<Step, { type: "adopt" }>;

/** Says in the ledger what is known; nobody is called. */
export async function writeLedger<Spec>(acting: Acting<Spec>, step: LedgerStep): Promise<Verdict> {
  const { reason } = step;
  switch (step.type) {
    case "fail": {
      const { row, ifSilentForMs } = step;
      const silence = ifSilentForMs === undefined ? {} : { ifSilentForMs };
      return verdictOf(await change(acting, row, { state: "FAILED", reason, ...silence }));
    }
    case "drop":
      return verdictOf(await change(acting, step.row, { state: "TERMINATED", reason }));
    case "adopt":
      return adopt(acting, step);
  }
}

/**
 * Makes the row of a resource that was found, under the incarnation that it says it is. A ledger only ever makes the next one,
 * so those before it, of which it knows nothing, are made as tombstones: the first by itself, so that nothing is made on top of
 * what another writer has made there, and the others in one store call with the row.
 */
async function adopt<Spec>(acting: Acting<Spec>, step: AdoptStep): Promise<Verdict> {
  const last = step.incarnation - 1;
  let { after } = step;
  if (after < last) {
    const first = await make(acting, tombstone(step, after));
    if (first.status === "ended") return first.verdict;
    // Further than the resource says, where the ledger has purged rows: then it is simply the next one.
    after = first.row.incarnation;
  }
  const others: Promise<Written>[] = [];
  for (let before = after; before < last; before += 1) others.push(make(acting, tombstone(step, before)));
  const written = make(acting, adopted(step, Math.max(after, last)));
  await Promise.all(others);
  return verdictOf(await written);
}

/** Of an incarnation of which nothing is known but that it was there. */
function tombstone({ id }: AdoptStep, after: number) {
  return { kind: "create", id, after, state: "TERMINATED", generation: 0, reason: LOST_REASON, attempt: 0 } as const;
}

function adopted({ id, externalId, spec, generation, reason }: AdoptStep, after: number) {
  return {
    kind: "create",
    id,
    after,
    state: "PROVISIONED",
    ...(spec === undefined ? {} : { spec }),
    ...(externalId === undefined ? {} : { externalId }),
    generation,
    reason,
    attempt: 0,
  } as const;
}
