import type { GroupSummary, HistoryPoint } from "../dashboard-update.ts";
import { gapAfter, pointOf, pushPoint } from "./history-points.ts";

/** Of a group: what is kept, however long the page stays open. */
const MOST_POINTS = 4_000;

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
      this.#points.set(name, [...before, ...(last === undefined ? [] : [gapAfter(last)]), ...seen]);
    }
  }

  /** Adds what an update says. Those that are unknown leave a gap; those that are not there any more are forgotten. */
  add(at: number, groups: readonly GroupSummary[], isUnknown: (group: GroupSummary) => boolean): void {
    const named = new Set(groups.map(({ name }) => name));
    for (const name of this.#points.keys()) if (!named.has(name)) this.#points.delete(name);
    for (const group of groups) {
      const points = this.#points.get(group.name) ?? [];
      this.#points.set(group.name, points);
      pushPoint(points, pointOf(at, isUnknown(group) ? undefined : group), MOST_POINTS);
    }
  }

  /** Of one group. */
  of(name: string): readonly HistoryPoint[] {
    return this.#points.get(name) ?? [];
  }
}
