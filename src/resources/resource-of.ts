import { recordCorrupt } from "../execution-record.ts";
import { rules } from "../option-rules.ts";
import type { ResourceRow } from "../store.ts";
import type { ResourceRecord } from "./resource.ts";
import { isResourceState } from "./resource-state.ts";
import { specOf } from "./spec-text.ts";

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === "string";
const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isPositive: Check = (value) => Number.isSafeInteger(value) && (value as number) > 0;
const isMoment: Check = (value) => Number.isFinite(value) && (value as number) >= 0;
const orAbsent =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);

/** What every field of a row has to be, also one from a store that somebody else wrote. */
const FIELDS: Readonly<Record<keyof ResourceRow, Check>> = {
  id: rules.name.test,
  group: rules.name.test,
  incarnation: isPositive,
  state: isResourceState,
  spec: orAbsent(isText),
  externalId: orAbsent(isText),
  generation: isCount,
  reason: orAbsent(isText),
  attempt: isCount,
  fencingToken: isCount,
  createdAt: isMoment,
  stateChangedAt: isMoment,
  provisionedAt: orAbsent(isMoment),
  lastHeartbeatAt: orAbsent(isMoment),
  terminatedAt: orAbsent(isMoment),
  leaseExpiresAt: orAbsent(isMoment),
  version: isPositive,
  readAt: isMoment,
};
const CHECKS = Object.entries(FIELDS) as readonly [keyof ResourceRow, Check][];

/**
 * Refuses a row that no store should answer: whoever acted on it would act on nobody knows what.
 * @throws EvenkeelError `RECORD_CORRUPT`, naming the resource and the field.
 */
export function assertRow(row: ResourceRow): void {
  if (typeof row !== "object" || row === null) throw recordCorrupt("a resource is no object");
  for (const [field, isValid] of CHECKS) {
    if (isValid(row[field])) continue;
    const which = field === "id" ? "a resource" : `the resource "${row.id}"`;
    throw recordCorrupt(`${which} has no valid ${field}`);
  }
}

/**
 * A row as the user sees it: an object of its own, with its spec decoded anew.
 * @throws EvenkeelError `RECORD_CORRUPT`, naming the resource and what of it can't be read.
 */
export function resourceOf<Spec>(row: ResourceRow): ResourceRecord<Spec> {
  assertRow(row);
  const { spec, externalId, provisionedAt, lastHeartbeatAt, terminatedAt, reason } = row;
  return {
    group: row.group,
    id: row.id,
    incarnation: row.incarnation,
    state: row.state,
    ...(spec === undefined ? {} : { spec: specOf<Spec>(spec, row.id) }),
    ...(externalId === undefined ? {} : { externalId }),
    generation: row.generation,
    createdAt: row.createdAt,
    ...(provisionedAt === undefined ? {} : { provisionedAt }),
    ...(lastHeartbeatAt === undefined ? {} : { lastHeartbeatAt }),
    ...(terminatedAt === undefined ? {} : { terminatedAt }),
    ...(reason === undefined ? {} : { reason }),
    fencingToken: row.fencingToken,
    version: row.version,
  };
}
