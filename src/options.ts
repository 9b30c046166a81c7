import * as z from "zod/mini";
import { invalidOptions, type OptionRule, type OptionRules } from "./option-rules.ts";

/**
 * Makes the strict schema of an options object: unknown names are refused, and those in `required` have to be there.
 */
export function optionsSchema(known: OptionRules, required: readonly string[]): z.ZodMiniType {
  const field = (name: string, rule: OptionRule): z.ZodMiniType => {
    const schema = z.custom((value) => rule.test(value), `must be ${rule.says}`);
    return required.includes(name) ? schema : z.optional(schema);
  };
  return z.strictObject(Object.fromEntries(Object.entries(known).map(([name, rule]) => [name, field(name, rule)])));
}

/**
 * Holds options against their schema.
 * @throws EvenkeelError `INVALID_OPTIONS`, one sentence that names the option and what it must be.
 */
export function parseOptions(owner: string, schema: z.ZodMiniType, given: unknown): void {
  const parsed = schema.safeParse(given);
  if (parsed.success) return;
  const [issue] = parsed.error.issues;
  if (issue?.code === "unrecognized_keys") throw invalidOptions(owner, `${issue.keys[0]} is not an option`);
  const name = issue?.path[0];
  if (name === undefined) throw invalidOptions(owner, "options must be an object");
  throw invalidOptions(owner, `${String(name)} ${issue?.message}`);
}
