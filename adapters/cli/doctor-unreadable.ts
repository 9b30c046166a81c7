import { FINE, found, type Verdict } from "./doctor-check.ts";

/** How many ids are looked for at most. */
export const MOST_IDS = 100;

/** What is to be said of records of executions that can't be read. Ids are digests: no key is told. */
export function unreadableVerdict(ids: readonly string[]): Verdict {
  if (ids.length === 0) return FINE;
  const shown = ids.slice(0, 3).map((id) => id.slice(0, 16));
  const count = ids.length >= MOST_IDS ? `${MOST_IDS} or more` : String(ids.length);
  return found(
    "error",
    `${count} ${ids.length === 1 ? "record" : "records"} of executions can't be read (${shown.join(", ")}${ids.length > 3 ? ", …" : ""}): calls with their keys get RECORD_CORRUPT, and nothing runs`,
    "upgrade evenkeel where a newer one wrote them; else restore them from a backup: a record that is deleted runs again, so delete one only where you know that what it stands for has not happened",
  );
}
