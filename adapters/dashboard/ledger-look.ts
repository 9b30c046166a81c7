import type { ResourceRow } from "../../src/store.ts";
import type { DashboardSettings } from "./dashboard-options.ts";
import type { DashboardProblem, DashboardUpdate, ResourceWindow } from "./dashboard-update.ts";
import { executionsLook, executionsOf } from "./executions-look.ts";
import { type GroupsFound, groupsLook } from "./groups-look.ts";
import { leasesLook } from "./leases-look.ts";
import { problemOf, type StoreReader } from "./store-reader.ts";
import { StoreTime } from "./store-time.ts";
import { windowOf, windowRows } from "./window-look.ts";
import type { WindowQuery } from "./window-query.ts";

/** What one look at the ledger found. */
export interface Sight {
  /** Epoch milliseconds. */
  readonly at: number;
  readonly groups: GroupsFound;
  /** What a page that shows these rows is told, a `DashboardUpdate` as JSON. The ledger is asked for them once. */
  updateFor(query: WindowQuery): Promise<string>;
  /** Forgets the rows of all other queries. */
  keep(queries: readonly WindowQuery[]): void;
}

/** What is looked at: all, with these windows, or the groups alone. */
export type LookedAt = { readonly windows: readonly WindowQuery[] } | "groups";

/** Looks at the ledger, part by part: of a part that could not be found out is told what stood before, and that it is so. */
export function ledgerLook(settings: DashboardSettings, read: StoreReader): (at: LookedAt) => Promise<Sight> {
  const { clock } = settings;
  const time = new StoreTime(clock);
  const groupsPart = groupsLook(settings, read);
  const executionsPart = remembered("executions", executionsLook(read, time));
  const leasesPart = remembered("leases", () => leasesLook(read));
  let windowsBefore = new Map<string, ResourceWindow>();

  return async (lookedAt) => {
    const asked = new Map<string, Promise<Found<readonly ResourceRow[] | undefined>>>();
    const rowsFor = (query: WindowQuery) => {
      const key = JSON.stringify(query);
      const rows = asked.get(key) ?? found("window", () => windowRows(query, read, time), query.group);
      asked.set(key, rows);
      return rows;
    };
    // All at once, so that a store that is silent is so for one of its timeouts.
    if (lookedAt !== "groups") for (const query of lookedAt.windows) rowsFor(query);
    const [groups, executions, leases] = await Promise.all([
      groupsPart(clock.monotonic()),
      lookedAt === "groups" ? nothing() : executionsPart(),
      lookedAt === "groups" ? nothing() : leasesPart(),
    ]);
    const at = clock.now();
    const known = [...groups.problems, executions.problem, leases.problem].filter((problem) => problem !== undefined);
    const updates = new Map<string, Promise<string>>();
    const stood = windowsBefore;
    const standing = new Map<string, ResourceWindow>();
    windowsBefore = standing;

    const updateOf = async (query: WindowQuery, key: string): Promise<string> => {
      const { value: rows, problem } = await rowsFor(query);
      const present = { groups: groups.groups ?? [], time };
      const window = problem === undefined ? windowOf(query, rows, present) : stood.get(key);
      // Whoever asked may have left by now.
      if (window !== undefined && updates.has(key)) standing.set(key, window);
      const update: DashboardUpdate = {
        at,
        ...(groups.groups === undefined ? {} : { groups: groups.groups }),
        ...(window === undefined ? {} : { window }),
        ...(executions.value === undefined ? {} : { executions: executionsOf(executions.value, time) }),
        ...leases.value,
        problems: problem === undefined ? known : [...known, problem],
      };
      return JSON.stringify(update);
    };

    return {
      at,
      groups,
      updateFor(query) {
        const key = JSON.stringify(query);
        const update = updates.get(key) ?? updateOf(query, key);
        updates.set(key, update);
        return update;
      },
      keep(queries) {
        const kept = new Set(queries.map((query) => JSON.stringify(query)));
        for (const known of [asked, updates, standing, stood])
          for (const key of known.keys()) if (!kept.has(key)) known.delete(key);
      },
    };
  };
}

/** What was found out last, if anything ever was, and what kept this look from finding out more. */
interface Found<T> {
  readonly value?: T;
  readonly problem?: DashboardProblem;
}

function nothing(): Found<never> {
  return {};
}

/** What a look finds, or why it finds nothing. */
async function found<T>(of: DashboardProblem["of"], look: () => Promise<T>, group?: string): Promise<Found<T>> {
  try {
    return { value: await look() };
  } catch (error) {
    return { problem: problemOf(of, error, group) };
  }
}

/** The same, and where it finds nothing what it found before. */
function remembered<T>(of: DashboardProblem["of"], look: () => Promise<T>): () => Promise<Found<T>> {
  let before: Found<T> = {};
  return async () => {
    const now = await found(of, look);
    if (now.problem !== undefined) return { ...before, problem: now.problem };
    before = now;
    return now;
  };
}
