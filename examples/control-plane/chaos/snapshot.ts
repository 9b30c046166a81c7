import { type LedgerStore, ResourceLedger } from "evenkeel";
import type { StateAnswer } from "../routes/state.ts";
import type { Addressee } from "./delivery.ts";
import type { CopySnapshot, GroupSnapshot, RowSeen, Snapshot } from "./facts.ts";
import { workerProcesses } from "./worker-processes.ts";

/** The name of the lease of who leads. */
export const ELECTION = "control-plane";
export const CALL = { timeoutMs: 5_000 };

const LIVING = ["PENDING", "PROVISIONED", "FAILED", "TERMINATING"] as const;
/** More than a run ever has. */
const MOST_ROWS = 10_000;
const ANSWERS_WITHIN_MS = 5_000;

export interface SnapshotOptions {
  readonly store: LedgerStore;
  readonly groups: readonly string[];
  readonly copies: readonly { readonly name: string; readonly url: string | undefined }[];
  /** The folder of the workers. */
  readonly folder: string;
}

/** What there is now, by all who can tell. */
export async function takeSnapshot({ store, groups, copies, folder }: SnapshotOptions): Promise<Snapshot> {
  const [lease, standing, told] = await Promise.all([
    store.leases.get(ELECTION, CALL),
    Promise.all(groups.map((group) => groupSnapshot(store, group))),
    Promise.all(copies.map(copySnapshot)),
  ]);
  return {
    at: Date.now(),
    ...(lease === undefined ? {} : { leader: { identity: lease.holder, epoch: lease.epoch } }),
    groups: standing,
    copies: told,
    processes: workerProcesses(folder),
  };
}

async function groupSnapshot(store: LedgerStore, group: string): Promise<GroupSnapshot> {
  const [{ generation, resources }, { epoch }, rows] = await Promise.all([
    new ResourceLedger({ store, group }).desired(),
    store.resources.getDesired(group, CALL),
    store.resources.list({ group, states: LIVING, limit: MOST_ROWS }, CALL),
  ]);
  return { name: group, generation, epoch, desired: resources.map(({ id }) => id), rows: rows.map(rowSeen) };
}

/** The part of a row that is recorded. */
export function rowSeen(
  row: Omit<RowSeen, "at" | "silentMs"> & { readonly readAt: number; readonly lastHeartbeatAt?: number },
): RowSeen {
  const { readAt: at, group, id, incarnation, state, version, fencingToken, externalId, reason, lastHeartbeatAt } = row;
  return {
    ...{ at, group, id, incarnation, state, version, fencingToken },
    ...(externalId === undefined ? {} : { externalId }),
    ...(reason === undefined ? {} : { reason }),
    ...(lastHeartbeatAt === undefined ? {} : { silentMs: at - lastHeartbeatAt }),
  };
}

async function copySnapshot({ name, url }: { name: string; url: string | undefined }): Promise<CopySnapshot> {
  const state = url === undefined ? undefined : await stateOf({ name, url });
  return state === undefined ? { name } : { name, state };
}

/** What a copy answers to `GET /state`; undefined where it does not. */
export async function stateOf({ url }: Addressee): Promise<StateAnswer | undefined> {
  const text = await textOf(`${url}/state`);
  return text === undefined ? undefined : (JSON.parse(text) as StateAnswer);
}

/** What is found at a URL; undefined where nothing is, in time. */
export async function textOf(url: string): Promise<string | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(ANSWERS_WITHIN_MS) });
    const text = await response.text();
    return response.ok ? text : undefined;
  } catch {
    return undefined;
  }
}
