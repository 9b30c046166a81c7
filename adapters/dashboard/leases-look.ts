import { isDivisionLeaseName } from "../../src/coordination/division-lease.ts";
import { type Division, divisionsOf } from "../../src/coordination/divisions.ts";
import type { LeaseView } from "../../src/store.ts";
import type { DivisionSummary, ElectionSummary } from "./dashboard-update.ts";
import type { StoreReader } from "./store-reader.ts";

const MOST_ELECTIONS = 100;
const MOST_DIVISIONS = 100;

/** What leases say of elections and divisions. */
export interface LeasesFound {
  readonly elections: readonly ElectionSummary[];
  readonly divisions: readonly DivisionSummary[];
}

/** @throws what the store did. */
export async function leasesLook(read: StoreReader): Promise<LeasesFound> {
  return leasesFound(await read((store, call) => store.leases.list("", call)));
}

function leasesFound(leases: readonly LeaseView[]): LeasesFound {
  const elections = leases.filter(({ name }) => !isDivisionLeaseName(name));
  return {
    elections: elections.slice(0, MOST_ELECTIONS).map(electionSummary),
    divisions: divisionsOf(leases).slice(0, MOST_DIVISIONS).map(divisionSummary),
  };
}

function electionSummary({ name, holder, epoch, remainingMs }: LeaseView): ElectionSummary {
  return { name, leader: holder, epoch, remainingMs };
}

function divisionSummary({ name, members, left, counts, owners }: Division): DivisionSummary {
  const shards = Math.max(...counts);
  return {
    ...{ name, shards, unowned: shards - owners.size },
    members: [
      ...members.map(({ id, weight, holds }) => ({ id, shards: holds, weight })),
      ...left.map(({ id, holds }) => ({ id, shards: holds })),
    ],
  };
}
