import { recordCorrupt } from "../execution-record.ts";
import type { Condition } from "./planned.ts";

/** What holds at the end of a pass: the reasons of the conditions that are true. */
export type ConditionReasons = Readonly<Record<string, { readonly status: boolean; readonly reason: string }>>;

/** What the ledger keeps of a reconciler's last word on its group. */
export interface GroupStatus {
  readonly observedGeneration: number;
  readonly conditions: readonly Condition[];
}

const NO_STATUS: GroupStatus = Object.freeze({ observedGeneration: 0, conditions: Object.freeze([]) });

/**
 * The next conditions. One appears once it is true (`Converged` at once) and stays from then on; `since` moves when its status does.
 */
export function nextConditions(before: readonly Condition[], reasons: ConditionReasons, nowMs: number): Condition[] {
  const types = [...new Set([...before.map(({ type }) => type), ...Object.keys(reasons)])].sort();
  return types.flatMap((type) => {
    const known = before.find((condition) => condition.type === type);
    const { status, reason } = reasons[type] ?? { status: false, reason: "Cleared" };
    if (known === undefined && !status && type !== "Converged") return [];
    const since = known?.status === status ? known.since : nowMs;
    return [{ type, status, reason, since }];
  });
}

/** Whether the condition of that type is true. */
export function holds(conditions: readonly Condition[], type: string): boolean {
  return conditions.some((condition) => condition.type === type && condition.status);
}

/** Whether a reconciler's last word is that its group has converged, and of the generation that is desired now. */
export function hasConverged({ observedGeneration, conditions }: GroupStatus, generation: number): boolean {
  return observedGeneration === generation && holds(conditions, "Converged");
}

/** The text of a status in the ledger. */
export function statusText({ observedGeneration, conditions }: GroupStatus): string {
  return JSON.stringify({ observedGeneration, conditions });
}

/**
 * The status of a text.
 * @throws EvenkeelError `RECORD_CORRUPT` for what {@link statusText} never wrote.
 */
export function statusOf(text: string | undefined): GroupStatus {
  if (text === undefined) return NO_STATUS;
  let status: Partial<GroupStatus> | null;
  try {
    status = JSON.parse(text);
  } catch (cause) {
    throw recordCorrupt("the status of the group is damaged", { cause });
  }
  const { observedGeneration, conditions } = status ?? {};
  const isStatus =
    Number.isSafeInteger(observedGeneration) && Array.isArray(conditions) && conditions.every(isCondition);
  if (!isStatus) throw recordCorrupt("the status of the group is damaged");
  return { observedGeneration: observedGeneration as number, conditions: conditions as Condition[] };
}

function isCondition(value: unknown): value is Condition {
  if (typeof value !== "object" || value === null) return false;
  const { type, status, reason, since } = value as Partial<Condition>;
  return (
    typeof type === "string" && typeof status === "boolean" && typeof reason === "string" && Number.isFinite(since)
  );
}
