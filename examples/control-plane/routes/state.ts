import type { LedgerStore } from "evenkeel";
import type { FastifyInstance } from "fastify";
import type { Group } from "../group.ts";
import type { Groups } from "../groups.ts";
import { resourceView } from "../resource-view.ts";

/** All states but that of what is gone. */
const STATES = ["PENDING", "PROVISIONED", "FAILED", "TERMINATING"] as const;
const MOST_ROWS = 1_000;

export interface StateOptions {
  readonly store: LedgerStore;
  readonly groups: Groups;
  /** This copy's name. */
  readonly copy: string;
  /** The name of the lease of who leads. */
  readonly election: string;
}

/** `GET /state`: how things stand, whichever copy is asked. */
export function stateRoutes(app: FastifyInstance, { store, groups, copy, election }: StateOptions): void {
  app.get("/state", async () => {
    const [lease, ...standing] = await Promise.all([
      store.leases.get(election, { timeoutMs: 5_000 }),
      ...[...groups].map((group) => standingOf(group, store)),
    ]);
    return { copy, leader: lease ? { identity: lease.holder, epoch: lease.epoch } : null, groups: standing };
  });
}

async function standingOf({ name, reconciler }: Group, store: LedgerStore) {
  const [status, rows] = await Promise.all([
    reconciler.status(),
    store.resources.list({ group: name, states: STATES, limit: MOST_ROWS }, { timeoutMs: 5_000 }),
  ]);
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
    /** What the last pass of this copy put off, and why. */
    held: reconciler.lastPass()?.report.held ?? [],
    resources: rows.map(resourceView),
  };
}
