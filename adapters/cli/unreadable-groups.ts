import { isEvenkeelError } from "../../src/errors.ts";
import { shownName } from "../../src/shown-text.ts";
import type { Output } from "./output.ts";

/** A group of which a record can't be read. */
export interface UnreadableGroup {
  readonly group: string;
  readonly why: string;
}

/** Looks at a group. One that can't be read is told, so that it hides no other: the result. */
export async function lookAtGroup(group: string, look: () => Promise<void>): Promise<readonly UnreadableGroup[]> {
  try {
    await look();
    return [];
  } catch (error) {
    if (!isEvenkeelError(error) || error.code !== "RECORD_CORRUPT") throw error;
    return [{ group, why: error.message.replace(/\.$/, "") }];
  }
}

/** A line on stderr for each. */
export function tellUnreadable(groups: readonly UnreadableGroup[], output: Output): void {
  for (const { group, why } of groups) output.note(`evenkeel: the group ${shownName(group)} can't be read: ${why}`);
}
