import { isDivisionLeaseName } from "../../src/coordination/division-lease.ts";
import { type Division, divisionsOf } from "../../src/coordination/divisions.ts";
import type { LeaseView } from "../../src/store.ts";
import type { OpenedStore } from "../open/open-store.ts";
import { groupNames, type ResourceReader } from "./resource-rows.ts";
import type { WatchChange } from "./watch-change.ts";
import { type GroupSnapshot, WatchedGroup } from "./watched-group.ts";

/** How a ledger stands. */
export interface LedgerSnapshot {
  readonly groups: readonly GroupSnapshot[];
  /** The leases of elections that are held. */
  readonly elections: readonly LeaseView[];
  readonly divisions: readonly Division[];
}

export interface WatchedLedgerOptions extends ResourceReader {
  readonly store: Pick<OpenedStore, "resources" | "leases">;
  /** Only this group. Defaults to all, also those that come later. */
  readonly group?: string | undefined;
  /** How long a heartbeat may be ago, in milliseconds. */
  readonly silentMs: number;
}

/** A ledger that is looked at again and again. A look that fails leaves what is known as it was. */
export class WatchedLedger {
  readonly #options: WatchedLedgerOptions;
  readonly #groups = new Map<string, WatchedGroup>();
  #leases: { readonly elections: readonly LeaseView[]; readonly divisions: readonly Division[] } | undefined;

  constructor(options: WatchedLedgerOptions) {
    this.#options = options;
  }

  /**
   * Looks once; the first look tells no changes. A change is told once, also where a later part of the look fails.
   * @param onChange - told of each change as it is found.
   */
  async look(nowMs: number, onChange: (change: WatchChange) => void): Promise<LedgerSnapshot> {
    const { store, ask, group, silentMs } = this.#options;
    const groups: GroupSnapshot[] = [];
    for await (const name of group === undefined ? groupNames(this.#options) : [group]) {
      const watched = this.#groups.get(name) ?? new WatchedGroup(name, silentMs);
      this.#groups.set(name, watched);
      groups.push(await watched.look(this.#options, nowMs, onChange));
    }
    const leases = await ask((call) => store.leases.list("", call));
    const elections = leases.filter(({ name }) => !isDivisionLeaseName(name));
    const divisions = divisionsOf(leases);
    const before = this.#leases;
    this.#leases = { elections, divisions };
    if (before !== undefined) {
      for (const change of leaderChanges(before.elections, elections, nowMs)) onChange(change);
      for (const change of shardChanges(before.divisions, divisions, nowMs)) onChange(change);
    }
    return { groups, elections, divisions };
  }
}

/** Who leads and who has shards, as if it had become so. */
export function holdersAsChanges(
  elections: readonly LeaseView[],
  divisions: readonly Division[],
  at: number,
): WatchChange[] {
  return [...leaderChanges([], elections, at), ...shardChanges([], divisions, at)];
}

function leaderChanges(before: readonly LeaseView[], now: readonly LeaseView[], at: number): WatchChange[] {
  const gained = now.filter(({ name, epoch }) => before.find((lease) => lease.name === name)?.epoch !== epoch);
  const lost = before.filter(({ name }) => !now.some((lease) => lease.name === name));
  return [
    ...lost.map(({ name }) => ({ type: "leader" as const, at, election: name })),
    ...gained.map(({ name, holder, epoch }) => ({ type: "leader" as const, at, election: name, holder, epoch })),
  ];
}

function shardChanges(before: readonly Division[], now: readonly Division[], at: number): WatchChange[] {
  const sizeOf = (division: Division | undefined) => ({
    members: division?.members.length ?? 0,
    held: division?.owners.size ?? 0,
  });
  const names = new Set([...before, ...now].map(({ name }) => name));
  return [...names].flatMap((division) => {
    const [was, is] = [before, now].map((divisions) => sizeOf(divisions.find(({ name }) => name === division)));
    if (was === undefined || is === undefined || (was.members === is.members && was.held === is.held)) return [];
    return [{ type: "shards" as const, at, division, ...is }];
  });
}
