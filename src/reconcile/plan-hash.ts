import { digest } from "../digest.ts";
import type { HeldAction } from "./planned.ts";
import type { Step } from "./step.ts";

/** The name of a plan: equal for equal actions and holds of one generation, with the specs and the resources that they are of. */
export function planHash(generation: number, steps: readonly Step[], held: readonly HeldStep[]): string {
  const parts = [...steps.map((step) => ({ step, heldBy: "" })), ...held].flatMap(({ step, heldBy }) => {
    const { type, id, incarnation, reason } = step;
    const row = "row" in step ? step.row : undefined;
    const spec = "spec" in step ? step.spec : row?.spec;
    const externalId = "externalId" in step ? step.externalId : row?.externalId;
    // The spec apart: it is long, and what it is quoted to would be longer.
    const what = [type, id, incarnation, reason, heldBy, externalId ?? null, spec === undefined];
    return [JSON.stringify(what), spec ?? ""];
  });
  return digest("2", String(generation), ...parts);
}

/** A step that is held. */
export interface HeldStep extends HeldAction {
  readonly step: Step;
}
