import type { DashboardSettings } from "./dashboard-options.ts";
import type { DashboardProblem, GroupSummary } from "./dashboard-update.ts";
import { type GroupLook, groupHere, groupInLedger } from "./group-look.ts";
import { problemOf, type StoreReader } from "./store-reader.ts";

/** So many groups are looked at. */
const MOST_GROUPS = 100;
/** So many at a time, so that a pool of connections is not used up. */
const AT_A_TIME = 4;

/** How the groups stand, and what of it is from an earlier look. */
export interface GroupsFound {
  /** By name; absent as long as nothing was found out. */
  readonly groups?: readonly GroupSummary[];
  /** The names of those that were found out this time. */
  readonly fresh: ReadonlySet<string>;
  readonly problems: readonly DashboardProblem[];
}

interface KnownGroup {
  readonly look: GroupLook;
  summary: GroupSummary | undefined;
}

/** Looks at all groups of the ledger, and at those of the reconcilers of this process. */
export function groupsLook(settings: DashboardSettings, read: StoreReader): (nowMs: number) => Promise<GroupsFound> {
  const known = new Map<string, KnownGroup>();
  let isKnown = false;

  const groupOf = (name: string): KnownGroup => {
    const group = known.get(name);
    if (group !== undefined) return group;
    const reconciler = settings.reconcilers.get(name);
    const look = reconciler === undefined ? groupInLedger(name, read) : groupHere(name, reconciler, read);
    const made = { look, summary: undefined };
    known.set(name, made);
    return made;
  };

  const summaries = (): readonly GroupSummary[] =>
    [...known]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      // Of one that was never read no more is known than that it is there.
      .map(([name, { summary }]) => summary ?? { name, isHere: settings.reconcilers.has(name) });

  return async (nowMs) => {
    let names: readonly string[];
    try {
      const inLedger = await read((store, call) => store.resources.listGroups({ limit: MOST_GROUPS }, call));
      names = [...new Set([...settings.reconcilers.keys(), ...inLedger])].slice(0, MOST_GROUPS);
    } catch (error) {
      const groups = isKnown ? { groups: summaries() } : {};
      return { ...groups, fresh: new Set(), problems: [problemOf("groups", error)] };
    }
    isKnown = true;
    for (const name of known.keys()) if (!names.includes(name)) known.delete(name);
    const fresh = new Set<string>();
    const problems: DashboardProblem[] = [];
    for (let at = 0; at < names.length; at += AT_A_TIME) {
      const some = names.slice(at, at + AT_A_TIME);
      await Promise.all(
        some.map(async (name) => {
          const group = groupOf(name);
          try {
            const { summary, failure } = await group.look.look(nowMs);
            group.summary = summary;
            if (failure === undefined) fresh.add(name);
            else problems.push(problemOf("groups", failure, name));
          } catch (error) {
            problems.push(problemOf("groups", error, name));
          }
        }),
      );
    }
    return { groups: summaries(), fresh, problems };
  };
}
