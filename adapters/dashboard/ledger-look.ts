import type { DashboardSettings } from "./dashboard-options.ts";
import type { DashboardProblem, DashboardUpdate, ResourceWindow } from "./dashboard-update.ts";
import { executionsLook } from "./executions-look.ts";
import { type GroupsFound, groupsLook } from "./groups-look.ts";
import { leasesLook } from "./leases-look.ts";
import { problemOf, type StoreReader } from "./store-reader.ts";
import { StoreTime } from "./store-time.ts";
import { windowLook } from "./window-look.ts";
import type { WindowQuery } from "./window-query.ts";

/** What one look at the ledger found. */
export interface Sight {
  /** Epoch milliseconds. */
  readonly at: number;
  readonly groups: GroupsFound;
  /** What a page that shows these rows is told, a `DashboardUpdate` as JSON. The ledger is asked for them once. */
  updateFor(query: WindowQuery): Promise<string>;
}

/** Looks at the ledger, part by part: of a part that could not be found out is told what stood before, and that it is so. */
export function ledgerLook(settings: DashboardSettings, read: StoreReader): (of: "all" | "groups") => Promise<Sight> {
  const { clock } = settings;
  const time = new StoreTime(clock);
  const groupsPart = groupsLook(settings, read);
  const executionsPart = standing("executions", executionsLook(read, time));
  const leasesPart = standing("leases", () => leasesLook(read));
  let windowsBefore = new Map<string, ResourceWindow>();

  return async (of) => {
    const [groups, executions, leases] = await Promise.all([
      groupsPart(clock.monotonic()),
      of === "all" ? executionsPart() : nothing(),
      of === "all" ? leasesPart() : nothing(),
    ]);
    const at = clock.now();
    const known = [...groups.problems, executions.problem, leases.problem].filter((problem) => problem !== undefined);
    const updates = new Map<string, Promise<string>>();
    const stood = windowsBefore;
    const found = new Map<string, ResourceWindow>();
    windowsBefore = found;

    const windowOf = async (query: WindowQuery, key: string): Promise<Found<ResourceWindow | undefined>> => {
      if (query.group === undefined) return {};
      try {
        if (groups.failure !== undefined) throw groups.failure;
        const window = await windowLook(query, groups.groups ?? [], { read, time });
        if (window !== undefined) found.set(key, window);
        return { value: window };
      } catch (error) {
        const before = stood.get(key);
        if (before !== undefined) found.set(key, before);
        return { value: before, problem: problemOf("window", error, query.group) };
      }
    };

    const updateOf = async (query: WindowQuery, key: string): Promise<string> => {
      const { value: window, problem } = await windowOf(query, key);
      const update: DashboardUpdate = {
        at,
        ...(groups.groups === undefined ? {} : { groups: groups.groups }),
        ...(window === undefined ? {} : { window }),
        ...(executions.value === undefined ? {} : { executions: executions.value }),
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

function standing<T>(of: DashboardProblem["of"], look: () => Promise<T>): () => Promise<Found<T>> {
  let before: { readonly value?: T } = {};
  return async () => {
    try {
      before = { value: await look() };
      return before;
    } catch (error) {
      return { ...before, problem: problemOf(of, error) };
    }
  };
}
