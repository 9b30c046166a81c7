/** A moment in epoch milliseconds as ISO 8601 has it; one that is no date, as a ledger may hold, as the number that it is. */
export function momentText(atMs: number): string {
  const date = new Date(atMs);
  return Number.isNaN(date.getTime()) ? String(atMs) : date.toISOString();
}
