import { rules } from "../../src/option-rules.ts";
import { invalidRequest, type Problem } from "./answer.ts";
import type { DashboardAction } from "./dashboard-update.ts";

type Rule = { test(value: unknown): boolean; readonly says: string };

const text: Rule = rules.name;
const recordId = rules.custom("64 hex digits", (value) => typeof value === "string" && /^[0-9a-f]{64}$/.test(value));

/** The fields of each action besides its type. */
const FIELDS: Readonly<Record<DashboardAction["type"], Readonly<Record<string, Rule>>>> = {
  pause: { group: text },
  resume: { group: text },
  approve: { group: text, planHash: text },
  wake: { group: text, id: text },
  release: { id: recordId, token: rules.count },
};

/** Reads an action, or says what of it is wrong. */
export function actionOf(body: string): { readonly action: DashboardAction } | { readonly problem: Problem } {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return refused("body", "must be JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return refused("body", "must be an object");
  const { type, ...given } = value as Record<string, unknown>;
  if (typeof type !== "string" || !Object.hasOwn(FIELDS, type))
    return refused("type", `must be ${rules.oneOf(...Object.keys(FIELDS)).says}`);
  const fields = FIELDS[type as DashboardAction["type"]];
  for (const name of Object.keys(given)) if (!Object.hasOwn(fields, name)) return refused(name, "is not a field of it");
  for (const [name, rule] of Object.entries(fields)) {
    if (!rule.test(given[name])) return refused(name, `must be ${rule.says}`);
  }
  return { action: value as DashboardAction };
}

function refused(field: string, message: string): { readonly problem: Problem } {
  return { problem: invalidRequest(field, message) };
}
