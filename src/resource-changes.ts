import { type GroupRecord, type ResourceRecord, resourceRowOf } from "./resource-record.ts";
import type { ChangedResources } from "./store.ts";

/** Where `changedSince` begins: after this sequence. */
export interface ChangesStart {
  readonly afterSequence: number;
  /** The cursor is of a ledger that is gone, or of one that has lost writes since. */
  readonly reset: boolean;
}

/**
 * Reads a cursor, `<mark>:<sequence>`, opaque to everybody else. A group that is not there has an empty mark, which fits the group
 * that appears later: nothing was known of it.
 */
export function changesStart(group: GroupRecord | undefined, cursor: string | undefined): ChangesStart {
  if (cursor === undefined || cursor === changesCursor(undefined, 0)) return { afterSequence: 0, reset: false };
  const [, mark, digits] = /^([^:]*):(0|[1-9][0-9]{0,15})$/.exec(cursor) ?? [];
  const sequence = Number(digits);
  const isOurs = group !== undefined && mark === group.mark && sequence <= group.sequence;
  return isOurs ? { afterSequence: sequence, reset: false } : { afterSequence: 0, reset: true };
}

/** The cursor behind a row. */
export function changesCursor(group: GroupRecord | undefined, sequence: number): string {
  return `${group?.mark ?? ""}:${sequence}`;
}

/**
 * {@link ResourceStore.changedSince}.
 * @param records - at most `limit` rows with a sequence above the start, in the order of their sequences.
 */
export function changesAnswer(
  group: GroupRecord | undefined,
  { afterSequence, reset }: ChangesStart,
  records: readonly ResourceRecord[],
  nowMs: number,
): ChangedResources {
  const rows = records.map((record) => resourceRowOf(record, nowMs));
  return { rows, cursor: changesCursor(group, records.at(-1)?.sequence ?? afterSequence), reset };
}
