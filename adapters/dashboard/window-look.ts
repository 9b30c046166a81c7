import { assertRow } from "../../src/resources/resource-of.ts";
import type { ResourceRow, ResourceState } from "../../src/store.ts";
import type { GroupSummary, ResourceSummary, ResourceWindow } from "./dashboard-update.ts";
import type { StoreReader } from "./store-reader.ts";
import type { StoreTime } from "./store-time.ts";
import { cursorOf, type WindowQuery } from "./window-query.ts";

/**
 * The rows that a page shows, as they are now, and one more, which tells whether there is a next window.
 * @returns nothing where it shows those of no group.
 * @throws what the store did.
 */
export async function windowRows(
  { group, states, after, limit }: WindowQuery,
  read: StoreReader,
  time: StoreTime,
): Promise<readonly ResourceRow[] | undefined> {
  if (group === undefined) return undefined;
  const request = { group, limit: limit + 1, ...(states && { states }), ...(after && { after }) };
  const rows = await read((store, call) => store.resources.list(request, call));
  for (const row of rows) assertRow(row);
  const [first] = rows;
  if (first !== undefined) time.take(first.readAt);
  return rows;
}

/**
 * What a page is told of those rows.
 * @param groups - how the groups stand, for the total.
 * @returns nothing where there is no such group.
 */
export function windowOf(
  { group, states, limit }: WindowQuery,
  rows: readonly ResourceRow[] | undefined,
  { groups, time }: { readonly groups: readonly GroupSummary[]; readonly time: StoreTime },
): ResourceWindow | undefined {
  const summary = groups.find(({ name }) => name === group);
  const [first] = rows ?? [];
  if (group === undefined || rows === undefined || (summary === undefined && first === undefined)) return undefined;
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const total = totalOf(summary, states);
  return {
    group,
    ...(total === undefined ? {} : { total }),
    rows: shown.map((row) => summaryOf(row, time)),
    ...(rows.length > limit && last !== undefined ? { next: cursorOf(last) } : {}),
  };
}

function totalOf(summary: GroupSummary | undefined, states: readonly ResourceState[] | undefined): number | undefined {
  const observed = summary?.observed;
  if (observed === undefined) return undefined;
  const asked = states ?? (Object.keys(observed) as ResourceState[]);
  return asked.reduce((sum, state) => sum + observed[state], 0);
}

function summaryOf(row: ResourceRow, time: StoreTime): ResourceSummary {
  const { id, incarnation, state, generation, attempt, externalId, reason, lastHeartbeatAt } = row;
  return {
    id,
    incarnation,
    state,
    generation,
    attempt,
    ...(externalId === undefined ? {} : { externalId }),
    ...(reason === undefined ? {} : { reason }),
    stateChangedAt: time.local(row.stateChangedAt),
    ...(lastHeartbeatAt === undefined ? {} : { heartbeatAgeMs: Math.max(0, row.readAt - lastHeartbeatAt) }),
  };
}
