import { invalidOptions, isPlainText } from "../option-rules.ts";
import type { CreateResult } from "./resource.ts";

/** Names of cloud resources (an ARN, a URI) are longer than ids. */
const LONGEST_EXTERNAL_ID = 2_048;

/**
 * What `create` returned, as far as the ledger keeps it. Other fields of the object are left alone: it may be what an API answered.
 * @param owner - whom the error names.
 * @throws EvenkeelError `INVALID_OPTIONS` unless it is nothing, or an object whose `externalId`, if any, is a text of 1 to 2,048
 * characters.
 */
export function acceptCreateResult(owner: string, id: string, value: unknown): CreateResult {
  if (value === undefined) return {};
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw invalidOptions(owner, `create of "${id}" must return nothing or an object with an externalId`);
  const { externalId } = value as { externalId?: unknown };
  if (externalId === undefined) return {};
  if (isExternalId(externalId)) return { externalId };
  const says = "a well-formed text of 1 to 2,048 characters without control characters";
  throw invalidOptions(owner, `the externalId that create of "${id}" returned must be ${says}`);
}

function isExternalId(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= LONGEST_EXTERNAL_ID && isPlainText(value);
}
