import type { GroupSummary, HistoryPoint } from "./dashboard-update.ts";
import { gapAfter, pointOf, pushPoint } from "./page/history-points.ts";

/** Of all groups together. */
const MOST_POINTS = 20_000;

/** How the groups stood over the last hour. Of moments that are all alike only the first and the last are kept. */
export class History {
  readonly #points = new Map<string, HistoryPoint[]>();

  /**
   * Takes in what was found out; a group that was not is unknown at this moment.
   * @param groups - undefined where it is not known which there are: those of before stay.
   * @param fresh - the names of those that were.
   */
  add(at: number, groups: readonly GroupSummary[] | undefined, fresh: ReadonlySet<string>): void {
    const summaries = new Map(groups?.map((group) => [group.name, group]));
    const names = groups === undefined ? [...this.#points.keys()] : [...summaries.keys()];
    if (groups !== undefined)
      for (const name of this.#points.keys()) if (!summaries.has(name)) this.#points.delete(name);
    const most = Math.max(2, Math.floor(MOST_POINTS / Math.max(1, names.length)));
    for (const name of names) {
      const points = this.#points.get(name) ?? [];
      this.#points.set(name, points);
      pushPoint(points, pointOf(at, fresh.has(name) ? summaries.get(name) : undefined), most);
    }
  }

  /** Nobody looked from the last moment on. */
  interrupt(): void {
    for (const points of this.#points.values()) {
      const last = points.at(-1);
      if (last !== undefined && !isUnknown(last)) points.push(gapAfter(last));
    }
  }

  /** By group, oldest first. */
  byGroup(): Record<string, readonly HistoryPoint[]> {
    return Object.fromEntries([...this.#points].map(([name, points]) => [name, [...points]]));
  }
}

function isUnknown({ desired, observed }: HistoryPoint): boolean {
  return desired === null && observed === null;
}
