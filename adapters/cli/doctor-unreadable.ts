import { FINE, found, type Verdict } from "./doctor-check.ts";

/** What is to be said of leases that can't be read: their names, and where they are. */
export function unreadableLeasesVerdict(names: readonly string[], place: string): Verdict {
  return names.map((subject) => ({
    severity: "error",
    what: "the lease can't be read: nobody can lead, or own the shard",
    change: `look at it in ${place}; where no newer evenkeel wrote it, stop who competes for it and delete it`,
    subject,
  }));
}

/** How many ids are looked for at most. */
export const MOST_IDS = 100;

/** What is to be said of records of executions that can't be read. Ids are digests: no key is told. */
export function unreadableVerdict(ids: readonly string[]): Verdict {
  if (ids.length === 0) return FINE;
  // Whole: a record that can't be read is found by all of its digits only.
  const shown = ids.slice(0, 3);
  const count = ids.length >= MOST_IDS ? `${MOST_IDS} or more` : String(ids.length);
  return found(
    "error",
    `${count} ${ids.length === 1 ? "record" : "records"} of executions can't be read (${shown.join(", ")}${ids.length > 3 ? ", …" : ""}): calls with their keys get RECORD_CORRUPT, and nothing runs`,
    "upgrade evenkeel where a newer one wrote them; else restore them from a backup: a record that is deleted runs again, so delete one only where you know that what it stands for has not happened",
  );
}
