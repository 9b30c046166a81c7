import type { HeldAction, LeaderGate, LedgerStore, ReconcilerStatus } from "evenkeel";
import type { FastifyInstance } from "fastify";
import type { Group } from "../group.ts";
import type { Groups } from "../groups.ts";
import { type ResourceView, resourceView } from "../resource-view.ts";

/** All states but that of what is gone. */
const STATES = ["PENDING", "PROVISIONED", "FAILED", "TERMINATING"] as const;
const MOST_ROWS = 1_000;

/** What `GET /state` answers. */
export interface StateAnswer {
  /** The copy that answers. */
  readonly copy: string;
  /** Who leads, by the ledger. */
  readonly leader: { readonly identity: string; readonly epoch: number } | null;
  /** The epoch under which the copy itself takes itself for the leader, whatever the ledger says. */
  readonly leads: number | null;
  readonly groups: readonly GroupAnswer[];
}

/** How one group stands. */
export interface GroupAnswer
  extends Pick<
    ReconcilerStatus,
    "name" | "generation" | "observedGeneration" | "desired" | "observed" | "drift" | "converged" | "conditions"
  > {
  /** What the last pass of the copy put off, and why. */
  readonly held: readonly HeldAction[];
  readonly resources: readonly ResourceView[];
}

export interface StateOptions {
  readonly store: LedgerStore;
  readonly groups: Groups;
  /** This copy's name. */
  readonly copy: string;
  /** The name of the lease of who leads. */
  readonly election: string;
  /** Whether this copy leads. */
  readonly leader: LeaderGate;
}

/** `GET /state`: how things stand, whichever copy is asked. */
export function stateRoutes(app: FastifyInstance, { store, groups, copy, election, leader }: StateOptions): void {
  app.get("/state", async (): Promise<StateAnswer> => {
    const [lease, ...standing] = await Promise.all([
      store.leases.get(election, { timeoutMs: 5_000 }),
      ...[...groups].map((group) => standingOf(group, store)),
    ]);
    return {
      copy,
      leader: lease ? { identity: lease.holder, epoch: lease.epoch } : null,
      leads: leader.epoch ?? null,
      groups: standing,
    };
  });
}

async function standingOf({ name, reconciler }: Group, store: LedgerStore): Promise<GroupAnswer> {
  const status = await reconciler.status();
  // After it: rows of before would belie what it says of them.
  const rows = await store.resources.list({ group: name, states: STATES, limit: MOST_ROWS }, { timeoutMs: 5_000 });
  const { generation, observedGeneration, desired, observed, drift, converged, conditions } = status;
  return {
    name,
    generation,
    observedGeneration,
    desired,
    observed,
    drift,
    converged,
    conditions,
    held: reconciler.lastPass()?.report.held ?? [],
    resources: rows.map(resourceView),
  };
}
