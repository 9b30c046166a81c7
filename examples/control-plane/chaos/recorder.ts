import { setTimeout as sleep } from "node:timers/promises";
import type { LedgerStore } from "evenkeel";
import type { Copy } from "./copy.ts";
import type { BeliefSeen, EpochSeen, Facts, LeaderSeen, ProbeFacts, RowSeen, WorkerProcess } from "./facts.ts";
import { probeStaleWrites } from "./probe.ts";
import { CALL, ELECTION, rowSeen, stateOf, textOf } from "./snapshot.ts";
import { workerProcesses } from "./worker-processes.ts";

const LEDGER_EVERY_MS = 200;
const COPIES_EVERY_MS = 1_000;
/** Of how many former leaders writes are tried. */
const FORMER_EPOCHS = 3;
const ROWS_A_LOOK = 1_000;

export interface RecorderOptions {
  /** The ledger, by a way that nobody cuts. */
  readonly store: LedgerStore;
  readonly groups: readonly string[];
  readonly copies: readonly Copy[];
  /** The folder of the workers. */
  readonly folder: string;
  /** Called when another copy leads. */
  readonly onLeader: (leader: { readonly identity: string; readonly epoch: number }) => void;
}

/** Writes down what is to be seen while a run goes on: of the ledger, of what the copies answer, and of the processes. */
export class Recorder {
  readonly rows: RowSeen[] = [];
  readonly leaders: LeaderSeen[] = [];
  readonly beliefs: BeliefSeen[] = [];
  readonly epochs: EpochSeen[] = [];
  readonly probes: ProbeFacts[] = [];
  readonly strangers: WorkerProcess[] = [];
  readonly #options: RecorderOptions;
  readonly #cursors = new Map<string, string>();
  readonly #known = new Set<string>();
  readonly #probed = new Map<string, number>();
  /** By process: the highest that its counter was, which begins anew with each. */
  readonly #fenced = new Map<string, number>();
  #convergedAt = performance.now();
  #longestMs = 0;
  #isOver = false;
  #ended: Promise<unknown> = Promise.resolve();

  constructor(options: RecorderOptions) {
    this.#options = options;
  }

  /** How many writes the copies have said that were fenced. */
  get fencedWrites(): number {
    return [...this.#fenced.values()].reduce((total, count) => total + count, 0);
  }

  /** The longest time in which no copy said that all groups had converged, in milliseconds. */
  get longestUnconvergedMs(): number {
    return Math.round(this.#longestMs);
  }

  start(): void {
    this.#ended = Promise.all([
      this.#repeat(LEDGER_EVERY_MS, () => this.#lookAtLedger()),
      // Each for itself: one that is frozen holds up no look at another.
      ...this.#options.copies.map((copy) => this.#repeat(COPIES_EVERY_MS, () => this.#lookAtCopy(copy))),
    ]);
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#ended;
  }

  /** What it has recorded. */
  facts(): Pick<Facts, "rows" | "leaders" | "beliefs" | "epochs" | "probes" | "strangers"> {
    const { rows, leaders, beliefs, epochs, probes, strangers } = this;
    return { rows, leaders, beliefs, epochs, probes, strangers };
  }

  async #repeat(everyMs: number, look: () => Promise<void>): Promise<void> {
    // The engine may be slow for once; what is missed now is seen by the next look.
    for (; !this.#isOver; await sleep(everyMs)) await look().catch(() => {});
  }

  async #lookAtLedger(): Promise<void> {
    const { store, groups, folder } = this.#options;
    const lease = await store.leases.get(ELECTION, CALL);
    if (lease !== undefined) this.#hear("lease", { identity: lease.holder, epoch: lease.epoch });
    // Before the rows: what is written before a process is started is there by then.
    const processes = workerProcesses(folder);
    for (const group of groups) {
      const { epoch } = await store.resources.getDesired(group, CALL);
      this.epochs.push({ group, epoch });
      await this.#lookAtRows(group);
      if (epoch === (this.#probed.get(group) ?? 0)) continue;
      const former = new Set(this.leaders.map((seen) => seen.epoch).filter((other) => other < epoch));
      const epochs = [0, ...[...former].slice(-FORMER_EPOCHS)];
      this.probes.push(...(await probeStaleWrites(store, { group, seen: epoch, epochs })));
      this.#probed.set(group, epoch);
    }
    for (const process of processes)
      if (!this.#known.has(nameOf(process)) && !this.strangers.some(({ pid }) => pid === process.pid))
        this.strangers.push(process);
  }

  async #lookAtRows(group: string): Promise<void> {
    for (;;) {
      const cursor = this.#cursors.get(group);
      const request = { group, limit: ROWS_A_LOOK, ...(cursor === undefined ? {} : { cursor }) };
      const changed = await this.#options.store.resources.changedSince(request, CALL);
      this.#cursors.set(group, changed.cursor);
      for (const row of changed.rows) {
        this.rows.push(rowSeen(row));
        this.#known.add(nameOf(row));
      }
      if (changed.rows.length < ROWS_A_LOOK) return;
    }
  }

  async #lookAtCopy({ name, url, life }: Copy): Promise<void> {
    if (url === undefined) return;
    const newest = this.leaders.findLast(({ by }) => by === "lease")?.epoch ?? 0;
    const [state, metrics] = await Promise.all([stateOf({ name, url }), textOf(`${url}/metrics`)]);
    if (state?.leader) this.#hear(life, state.leader);
    const epoch = state?.leads ?? undefined;
    if (epoch !== undefined) this.beliefs.push({ by: life, identity: name, epoch, newest });
    if (state?.groups.every((group) => group.converged && group.observedGeneration === group.generation))
      this.#convergedAt = performance.now();
    this.#longestMs = Math.max(this.#longestMs, performance.now() - this.#convergedAt);
    const counts = metrics?.matchAll(/^reconciler_fenced_writes_total(?:\{.*\})? (\d+)/gm) ?? [];
    const fenced = [...counts].reduce((total, [, count]) => total + Number(count), 0);
    this.#fenced.set(life, Math.max(fenced, this.#fenced.get(life) ?? 0));
  }

  #hear(by: string, leader: { readonly identity: string; readonly epoch: number }): void {
    const { identity, epoch } = leader;
    const last = this.leaders.findLast((seen) => seen.by === by);
    if (last?.identity === identity && last.epoch === epoch) return;
    this.leaders.push({ at: Date.now(), by, identity, epoch });
    if (by !== "lease") return;
    this.#options.onLeader(leader);
  }
}

function nameOf({ group, id, incarnation }: Pick<WorkerProcess, "group" | "id" | "incarnation">): string {
  return `${group}/${id}#${incarnation}`;
}
