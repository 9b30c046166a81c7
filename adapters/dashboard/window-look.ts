import { assertRow } from "../../src/resources/resource-of.ts";
import type { ResourceRow, ResourceState } from "../../src/store.ts";
import type { GroupSummary, ResourceSummary, ResourceWindow } from "./dashboard-update.ts";
import type { StoreReader } from "./store-reader.ts";
import type { StoreTime } from "./store-time.ts";
import { cursorOf, type WindowQuery } from "./window-query.ts";

/**
 * The rows that a page shows, as they are now.
 * @param groups - how the groups stand, for the total.
 * @returns nothing where no group is asked for, or there is none of that name.
 * @throws what the store did.
 */
export async function windowLook(
  query: WindowQuery,
  groups: readonly GroupSummary[],
  { read, time }: { readonly read: StoreReader; readonly time: StoreTime },
): Promise<ResourceWindow | undefined> {
  const { group, states, after, limit } = query;
  const summary = groups.find(({ name }) => name === group);
  if (group === undefined || summary === undefined) return undefined;
  // One more tells whether there is a next window.
  const request = { group, limit: limit + 1, ...(states && { states }), ...(after && { after }) };
  const rows = await read((store, call) => store.resources.list(request, call));
  for (const row of rows) assertRow(row);
  const [first] = rows;
  if (first !== undefined) time.take(first.readAt);
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

function totalOf({ observed }: GroupSummary, states: readonly ResourceState[] | undefined): number | undefined {
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
