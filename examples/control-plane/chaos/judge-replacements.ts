import type { Facts, RowSeen, Strike } from "./facts.ts";

/** What a worker writes that gave up by itself: it was alone for too long. */
const GAVE_UP = "no control plane has answered";

/**
 * Workers that another one took the place of, though nobody had struck them, nobody wanted them gone, and they had neither given up nor
 * been silent for too long.
 */
export function needlessReplacements({
  lines,
  rows,
  strikes,
  staleMs,
}: Pick<Facts, "lines" | "rows" | "strikes" | "staleMs">): string[] {
  const started = lines.filter(({ event }) => event === "started");
  const gone = new Set(strikes.map(nameOf));
  for (const line of lines) if (line.event === "ended" && line.why === GAVE_UP) gone.add(nameOf(line));
  for (const row of rows) if (row.reason === "Surplus" || isSilent(row, staleMs)) gone.add(nameOf(row));
  const names = new Set(started.map(nameOf));
  return started.flatMap((line) => {
    const before = nameOf({ ...line, incarnation: line.incarnation - 1 });
    return names.has(before) && !gone.has(before) ? [`${before} was replaced, and nothing was wrong with it`] : [];
  });
}

/** A row that was given up takes no beat any more: how long it had been silent can be seen of it later, too. */
function isSilent({ state, silentMs }: RowSeen, staleMs: number): boolean {
  // One that never beat was given up for that, or not at all.
  if (silentMs === undefined) return state !== "PENDING" && state !== "PROVISIONED";
  return silentMs > staleMs;
}

function nameOf({ group, id, incarnation }: Strike): string {
  return `${group}/${id}#${incarnation}`;
}
