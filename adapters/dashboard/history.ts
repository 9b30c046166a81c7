import type { GroupSummary, HistoryPoint } from "./dashboard-update.ts";

const KEPT_MS = 3_600_000;
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
      const { desired = null, observed } = (fresh.has(name) ? summaries.get(name) : undefined) ?? {};
      this.#take(name, { at, desired, observed: observed?.PROVISIONED ?? null }, most);
    }
  }

  /** Nobody looked from the last moment on. */
  interrupt(): void {
    for (const points of this.#points.values()) {
      const last = points.at(-1);
      if (last !== undefined && !isUnknown(last)) points.push({ at: last.at + 1, desired: null, observed: null });
    }
  }

  /** By group, oldest first. */
  byGroup(): Record<string, readonly HistoryPoint[]> {
    return Object.fromEntries([...this.#points].map(([name, points]) => [name, [...points]]));
  }

  #take(name: string, point: HistoryPoint, most: number): void {
    const points = this.#points.get(name) ?? [];
    this.#points.set(name, points);
    // The clock went back: what was seen behind it can't be told from what comes.
    while ((points.at(-1)?.at ?? Number.NEGATIVE_INFINITY) > point.at) points.pop();
    const [before, last] = points.slice(-2);
    const goesOn = before !== undefined && last !== undefined && isAlike(before, last) && isAlike(last, point);
    if (goesOn) points[points.length - 1] = point;
    else points.push(point);
    forgetBefore(points, point.at - KEPT_MS);
    points.splice(0, Math.max(points.length - most, 0));
  }
}

/** What goes on over the moment begins at it from now on. */
function forgetBefore(points: HistoryPoint[], moment: number): void {
  const kept = points.findIndex(({ at }) => at >= moment);
  const [before, first] = [points[kept - 1], points[kept]];
  if (before === undefined || first === undefined) return;
  points.splice(0, kept, ...(isAlike(before, first) ? [{ ...before, at: moment }] : []));
}

function isAlike(a: HistoryPoint, b: HistoryPoint): boolean {
  return a.desired === b.desired && a.observed === b.observed;
}

function isUnknown({ desired, observed }: HistoryPoint): boolean {
  return desired === null && observed === null;
}
