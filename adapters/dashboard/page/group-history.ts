import type { GroupSummary, HistoryPoint } from "../dashboard-update.ts";

/** What is kept, however long the page stays open. */
const KEPT_MS = 60 * 60_000;
const KEPT_POINTS = 4_000;

/** Desired and observed of each group over the last hour, oldest first. Of a run of equal points the first and the last are kept. */
export class GroupHistory {
  readonly #points = new Map<string, HistoryPoint[]>();

  /** What the server has seen. What this page saw before that stays before it, with a gap between them. */
  begin(history: Readonly<Record<string, readonly HistoryPoint[]>>): void {
    for (const [name, seen] of Object.entries(history)) {
      const [first] = seen;
      if (first === undefined) continue;
      const before = (this.#points.get(name) ?? []).filter(({ at }) => at < first.at);
      const last = before.at(-1);
      const gap = last === undefined ? [] : [{ at: last.at + 1, desired: null, observed: null }];
      this.#points.set(name, [...before, ...gap, ...seen]);
    }
  }

  /** Adds what an update says. Those that are unknown leave a gap; those that are not there any more are forgotten. */
  add(at: number, groups: readonly GroupSummary[], isUnknown: (group: GroupSummary) => boolean): void {
    const named = new Set(groups.map(({ name }) => name));
    for (const name of this.#points.keys()) if (!named.has(name)) this.#points.delete(name);
    for (const group of groups) {
      const unknown = isUnknown(group);
      const points = this.#points.get(group.name) ?? [];
      this.#points.set(group.name, points);
      push(points, {
        at,
        desired: unknown ? null : (group.desired ?? null),
        observed: unknown ? null : (group.observed?.PROVISIONED ?? null),
      });
    }
  }

  /** Of one group. */
  of(name: string): readonly HistoryPoint[] {
    return this.#points.get(name) ?? [];
  }
}

function push(points: HistoryPoint[], point: HistoryPoint): void {
  // The server's clock went back, or another server answers.
  while ((points.at(-1)?.at ?? Number.NEGATIVE_INFINITY) > point.at) points.pop();
  const last = points.at(-1);
  // A stream that was opened anew repeats the last look.
  if (last?.at === point.at) return;
  const beforeLast = points.at(-2);
  if (last !== undefined && beforeLast !== undefined && isSame(last, point) && isSame(beforeLast, point)) points.pop();
  points.push(point);
  const from = point.at - KEPT_MS;
  // The one before stays, as the line begins there.
  while (points.length > KEPT_POINTS || (points[1] !== undefined && points[1].at < from)) points.shift();
}

function isSame(a: HistoryPoint, b: HistoryPoint): boolean {
  return a.desired === b.desired && a.observed === b.observed;
}
