import type { Acting, Verdict } from "./executor-terms.ts";
import { change, make, verdictOf } from "./executor-writes.ts";
import type { Step } from "./step.ts";

export type LedgerStep = Extract<Step, { type: "fail" | "drop" | "adopt" }>;

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
    case "adopt": {
      const { id, after, externalId, spec, generation } = step;
      const written = await make(acting, {
        kind: "create",
        id,
        after,
        state: "PROVISIONED",
        ...(spec === undefined ? {} : { spec }),
        ...(externalId === undefined ? {} : { externalId }),
        generation,
        reason,
        attempt: 0,
      });
      return verdictOf(written);
    }
  }
}
