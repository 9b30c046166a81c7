import { turnOfEventLoop } from "../clock.ts";

/** How many items are looked at before others get their turn. */
const ITEMS_PER_TURN = 1_000;

/** Counts items, and says when it is time to let the event loop turn. */
export function turnTaker(): { isDue(): boolean; turn(): Promise<void> } {
  let items = 0;
  return {
    isDue() {
      items += 1;
      return items % ITEMS_PER_TURN === 0;
    },
    turn: turnOfEventLoop,
  };
}

/**
 * Sorts a list of any length without keeping the event loop to itself: runs of one turn's length, then merges. A list that is in
 * order already costs one pass. The list given is left as it is.
 */
export async function sortedInTurns<T>(list: readonly T[], compare: (a: T, b: T) => number): Promise<readonly T[]> {
  const turns = turnTaker();
  if (await isSorted(list, compare, turns)) return list;
  let runs: T[][] = [];
  for (let start = 0; start < list.length; start += ITEMS_PER_TURN) {
    runs.push(list.slice(start, start + ITEMS_PER_TURN).sort(compare));
    await turns.turn();
  }
  while (runs.length > 1) {
    const merged: T[][] = [];
    for (let at = 0; at < runs.length; at += 2) {
      merged.push(await mergedInTurns(runs[at] ?? [], runs[at + 1] ?? [], compare, turns));
    }
    runs = merged;
  }
  return runs[0] ?? [];
}

async function isSorted<T>(
  list: readonly T[],
  compare: (a: T, b: T) => number,
  turns: ReturnType<typeof turnTaker>,
): Promise<boolean> {
  for (let at = 1; at < list.length; at += 1) {
    if (compare(list[at - 1] as T, list[at] as T) > 0) return false;
    if (turns.isDue()) await turns.turn();
  }
  return true;
}

async function mergedInTurns<T>(
  left: readonly T[],
  right: readonly T[],
  compare: (a: T, b: T) => number,
  turns: ReturnType<typeof turnTaker>,
): Promise<T[]> {
  const merged: T[] = [];
  let l = 0;
  let r = 0;
  while (l < left.length || r < right.length) {
    const takesLeft = r >= right.length || (l < left.length && compare(left[l] as T, right[r] as T) <= 0);
    merged.push((takesLeft ? left[l] : right[r]) as T);
    if (takesLeft) l += 1;
    else r += 1;
    if (turns.isDue()) await turns.turn();
  }
  return merged;
}
