import type { ListResourcesRequest, ResourceRow, StoreCall } from "../../src/store.ts";
import type { OpenedStore } from "../open/open-store.ts";

/** What reading needs: the ledger, and how it is asked. */
export interface ResourceReader {
  readonly store: Pick<OpenedStore, "resources">;
  ask<T>(send: (call: StoreCall) => Promise<T>): Promise<T>;
}

const PAGE = 1_000;

/**
 * The names of the groups, in order.
 * @param most - how many at most. Defaults to all.
 */
export async function* groupNames(
  { store, ask }: ResourceReader,
  most = Number.POSITIVE_INFINITY,
): AsyncGenerator<string> {
  let after: string | undefined;
  for (let left = most; left > 0; ) {
    const limit = Math.min(PAGE, left);
    const request = { limit, ...(after === undefined ? {} : { after }) };
    const names = await ask((call) => store.resources.listGroups(request, call));
    yield* names;
    after = names.at(-1);
    left -= names.length;
    if (names.length < limit) return;
  }
}

/** The rows of a group by id and incarnation, at most `limit`. */
export async function* resourceRows(
  { store, ask }: ResourceReader,
  { limit, ...request }: ListResourcesRequest,
): AsyncGenerator<ResourceRow> {
  let { after } = request;
  for (let left = limit; left > 0; ) {
    const size = Math.min(PAGE, left);
    const page = { ...request, limit: size, ...(after === undefined ? {} : { after }) };
    const rows = await ask((call) => store.resources.list(page, call));
    yield* rows;
    after = rows.at(-1);
    left -= rows.length;
    if (rows.length < size) return;
  }
}

/** All incarnations of one resource that the ledger keeps, oldest first. */
export async function incarnationsOf(reader: ResourceReader, group: string, id: string): Promise<ResourceRow[]> {
  const rows: ResourceRow[] = [];
  const { store, ask } = reader;
  // Of most there is one, or two; a page of them is enough to begin with.
  for (let after = { id, incarnation: 0 }; ; ) {
    const page = await ask((call) => store.resources.list({ group, limit: 10, after }, call));
    const own = page.filter((row) => row.id === id);
    rows.push(...own);
    if (own.length < 10) return rows;
    after = { id, incarnation: own.at(-1)?.incarnation ?? 0 };
  }
}
