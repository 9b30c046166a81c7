import {
  type EventListener,
  fixedThreshold,
  type LeaderGate,
  type LedgerStore,
  Reconciler,
  ResourceLedger,
} from "evenkeel";
import type { Copies } from "./copies.ts";
import { createMachine } from "./machine.ts";
import type { Settings } from "./settings.ts";

/** One group of workers, as one copy sees it. */
export type Group = ReturnType<typeof createGroup>;

export interface GroupOptions {
  readonly settings: Settings;
  readonly store: LedgerStore;
  /** The ledger's id. */
  readonly ledger: string;
  readonly leader: LeaderGate;
  readonly copies: Copies;
  readonly onEvent: EventListener;
}

/** Looks after the workers of a group, where this copy leads. */
export function createGroup(name: string, options: GroupOptions) {
  const { settings, store, leader, copies, onEvent } = options;
  const { staleMs, orphanMs, workers: folder } = settings;
  const beatMs = Math.round(staleMs / 10);
  const ledger = new ResourceLedger({ store, group: name });
  const machine = createMachine({
    folder,
    group: name,
    ledger: options.ledger,
    servers: copies.servers,
    beatMs,
    orphanMs,
    // Nobody has to wait until it is looked for.
    onEnded: () => reconciler.wake(),
  });
  const reconciler = new Reconciler({
    name,
    store,
    leader,
    observe: machine.observe,
    create: async (worker, ctx) => ({ externalId: String(await machine.start(worker, ctx)) }),
    terminate: async (worker, ctx) => machine.signal(worker, "SIGTERM", ctx),
    forceTerminate: async (worker, ctx) => machine.signal(worker, "SIGKILL", ctx),
    staleness: fixedThreshold({ staleAfterMs: staleMs, startupGraceMs: 2 * staleMs }),
    terminateGraceMs: 3_000,
    // What there is on this machine is known at once.
    observeGraceMs: 0,
    actionTimeoutMs: 5_000,
    // How soon the leader hears of what another copy was told.
    resyncIntervalMs: 1_000,
    onEvent,
  });

  return {
    name,
    ledger,
    reconciler,
    /**
     * For beats. Where the ledger can't be reached, workers are to hear that from us before they stop listening: they would take us for
     * gone, and end.
     */
    beats: new ResourceLedger({ store, group: name, storeTimeoutMs: Math.max(500, Math.round((beatMs * 2) / 3)) }),

    /** Where nobody has said yet how many there are to be, says so. */
    async start(): Promise<void> {
      if ((await ledger.desired()).generation === 0)
        await ledger.updateDesired((desired) => (desired.length > 0 ? desired : settings.desired));
      reconciler.start();
    },

    /** Its workers go on. */
    stop: () => reconciler.stop({ graceMs: 5_000 }),
  };
}
