import type { GroupSummary, HistoryPoint } from "../dashboard-update.ts";

/** What is remembered of a group: an hour. */
const KEPT_MS = 3_600_000;

/** How a group stands at a moment; unknown where nothing is known of it. */
export function pointOf(at: number, group: Pick<GroupSummary, "desired" | "observed"> | undefined): HistoryPoint {
  return { at, desired: group?.desired ?? null, observed: group?.observed?.PROVISIONED ?? null };
}

/** Nothing is known from the point on. */
export function gapAfter({ at }: HistoryPoint): HistoryPoint {
  return pointOf(at + 1, undefined);
}

/**
 * Adds what was seen last to what was seen in the hour before it, oldest first. Of a run of equal points the first and the last are kept.
 * @param most - so many points are kept at most, the newest.
 */
export function pushPoint(points: HistoryPoint[], point: HistoryPoint, most: number): void {
  // Repeated, or the clock went back: what was seen behind it can't be told from what comes.
  while ((points.at(-1)?.at ?? Number.NEGATIVE_INFINITY) >= point.at) points.pop();
  const [before, last] = points.slice(-2);
  if (before !== undefined && last !== undefined && isAlike(before, last) && isAlike(last, point)) points.pop();
  points.push(point);
  points.splice(0, Math.max(points.length - most, 0));
  cutAt(points, point.at - KEPT_MS);
}

/** What held at the edge begins at it. */
function cutAt(points: HistoryPoint[], edge: number): void {
  while (points[1] !== undefined && points[1].at <= edge) points.shift();
  const [first] = points;
  if (first !== undefined && first.at < edge) points[0] = { ...first, at: edge };
}

function isAlike(a: HistoryPoint, b: HistoryPoint): boolean {
  return a.desired === b.desired && a.observed === b.observed;
}
