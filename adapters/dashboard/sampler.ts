import type { Timer } from "../../src/clock.ts";
import type { DashboardSettings } from "./dashboard-options.ts";
import type { HistoryPoint } from "./dashboard-update.ts";
import { History } from "./history.ts";
import { ledgerLook, type Sight } from "./ledger-look.ts";
import { storeReader } from "./store-reader.ts";
import type { WindowQuery } from "./window-query.ts";

/** For so long the ledger is looked at after the last page was closed, so that the chart of one that is opened again has no gap. */
const LINGER_MS = 300_000;

/** Who watches, and which rows. */
export interface Viewer {
  readonly query: WindowQuery;
  /** @param update - a `DashboardUpdate` as JSON. */
  tell(update: string): void;
}

/**
 * Looks at the ledger for all who watch, once an interval however many they are, and a while longer. Its timers keep no process alive.
 */
export class Sampler {
  readonly #settings: DashboardSettings;
  readonly #ended = new AbortController();
  readonly #history = new History();
  readonly #viewers = new Set<Viewer>();
  #look: ReturnType<typeof ledgerLook>;
  #sight: { readonly found: Sight; readonly atMs: number; readonly of: "all" | "groups" } | undefined;
  #timer: Timer | undefined;
  /** At what is being looked. */
  #looksAt: "all" | "groups" | undefined;
  #isAskedAgain = false;
  #watchedAtMs = 0;

  constructor(settings: DashboardSettings) {
    this.#settings = settings;
    this.#look = this.#newLook();
    if (settings.history === "always") this.#lookAfter(0);
  }

  /** How the groups stood before. */
  history(): Readonly<Record<string, readonly HistoryPoint[]>> {
    return this.#history.byGroup();
  }

  /** Tells a viewer how things stand, at once and after each look. @returns what ends that. */
  watch(viewer: Viewer): () => void {
    this.#viewers.add(viewer);
    const { clock, intervalMs } = this.#settings;
    const sight = this.#sight;
    const isFresh = sight?.of === "all" && clock.monotonic() < sight.atMs + intervalMs;
    if (isFresh) void this.#tell(viewer, sight.found);
    else if (this.#looksAt !== "all") this.lookSoon();
    return () => {
      this.#viewers.delete(viewer);
      this.#sight?.found.keep(this.#queries());
      this.#watchedAtMs = clock.monotonic();
    };
  }

  /** Looks now, or once more after the look that is under way: something has changed. */
  lookSoon(): void {
    if (this.#looksAt !== undefined) this.#isAskedAgain = true;
    else if (this.#viewers.size > 0) void this.#run();
  }

  /** Ends whatever is under way. Nobody is told anything from now on. */
  close(): void {
    this.#ended.abort(new Error("The dashboard is closed."));
    this.#timer?.clear();
    this.#viewers.clear();
    this.#sight = undefined;
  }

  #queries(): readonly WindowQuery[] {
    return Array.from(this.#viewers, ({ query }) => query);
  }

  async #run(): Promise<void> {
    const { clock, intervalMs } = this.#settings;
    const of = this.#viewers.size > 0 ? "all" : "groups";
    this.#timer?.clear();
    this.#looksAt = of;
    this.#isAskedAgain = false;
    const found = await this.#look(of === "groups" ? of : { windows: this.#queries() });
    if (this.#ended.signal.aborted) return;
    // Some may have left meanwhile.
    found.keep(this.#queries());
    this.#sight = { found, atMs: clock.monotonic(), of };
    this.#history.add(found.at, found.groups.groups, found.groups.fresh);
    await Promise.all(Array.from(this.#viewers, (viewer) => this.#tell(viewer, found)));
    this.#looksAt = undefined;
    if (this.#ended.signal.aborted) return;
    const isWanted = this.#viewers.size > 0 || this.#settings.history === "always";
    if (!isWanted && clock.monotonic() >= this.#watchedAtMs + LINGER_MS) return this.#rest();
    this.#lookAfter(this.#isAskedAgain ? 0 : intervalMs);
  }

  #lookAfter(pauseMs: number): void {
    this.#timer = this.#settings.clock.setTimer(pauseMs, () => void this.#run(), { ref: false });
  }

  /** Nothing is tried again here: what fails is in the update. */
  async #tell(viewer: Viewer, sight: Sight): Promise<void> {
    const update = await sight.updateFor(viewer.query);
    // There may be a later one by now.
    if (this.#sight?.found === sight && this.#viewers.has(viewer)) viewer.tell(update);
  }

  /** Until somebody watches again; what is remembered of rows would be old then. */
  #rest(): void {
    this.#history.interrupt();
    this.#sight = undefined;
    this.#look = this.#newLook();
  }

  #newLook(): ReturnType<typeof ledgerLook> {
    return ledgerLook(this.#settings, storeReader(this.#settings, this.#ended.signal));
  }
}
