import type { ResourceRow } from "../store.ts";

/** The reason of a row that is, or was last, updated. */
export const UPDATE_REASON = "SpecChanged";

/** Whether an update was begun that is not known to have ended: what the resource is of now is unknown, whatever its row says. */
export function isUpdateOpen({ state, reason, attempt }: ResourceRow): boolean {
  return state === "PROVISIONED" && reason === UPDATE_REASON && attempt > 0;
}
