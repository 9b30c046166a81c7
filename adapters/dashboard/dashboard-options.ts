import { type Clock, systemClock } from "../../src/clock.ts";
import { acceptOptions, invalidOptions, type OptionRules, rules } from "../../src/option-rules.ts";
import { type Random, systemRandom } from "../../src/random.ts";
import type { Reconciler } from "../../src/reconcile/reconciler.ts";
import type { LedgerStore } from "../../src/store.ts";
import type { DashboardNote } from "./dashboard-update.ts";

export interface DashboardOptions {
  /** The ledger that is shown. The dashboard never closes it. */
  readonly store: LedgerStore;
  /**
   * The reconcilers of this process: of their groups it is also shown what the last pass held back, whether it is paused and whether it
   * leads, and `actions` act on them. Groups of other processes are shown by the ledger alone. Defaults to none.
   */
  readonly reconcilers?: readonly Reconciler[] | undefined;
  /**
   * Where the page is mounted: `"/dashboard"`, without what a proxy before this server takes off. Defaults to the mount of Express where
   * there is one, else to the root.
   */
  readonly basePath?: string | undefined;
  /**
   * Lets people pause, resume, approve, wake and release from the page. Whoever reaches the page may do all of it: mount it behind an
   * authentication of yours. Defaults to false.
   */
  readonly actions?: boolean | undefined;
  /** Stands above the page. Defaults to `"evenkeel"`. */
  readonly title?: string | undefined;
  /** Milliseconds between two looks at the ledger while somebody watches. Defaults to 2,000. */
  readonly intervalMs?: number | undefined;
  /**
   * When groups are looked at for the chart: `"watched"`, while somebody watches and for five minutes after; `"always"`, from the beginning
   * on, so that whoever opens the page sees the hour before. Defaults to `"watched"`.
   */
  readonly history?: "watched" | "always" | undefined;
  /** What the program has to say to its people, such as what to try. Defaults to none. */
  readonly notes?: readonly DashboardNote[] | undefined;
  /** How many pages may watch at once; the next one is answered 503. Defaults to 100. */
  readonly maxStreams?: number | undefined;
  /** How long one store operation may take, its repetitions included, in milliseconds. Defaults to 5,000. */
  readonly storeTimeoutMs?: number | undefined;
  /** Defaults to the machine's clock. */
  readonly clock?: Clock | undefined;
  /** Defaults to the machine's randomness. */
  readonly random?: Random | undefined;
}

/** The options with their defaults. */
export interface DashboardSettings {
  readonly store: LedgerStore;
  readonly reconcilers: ReadonlyMap<string, Reconciler>;
  /** Begins with a slash and doesn't end with one; empty for the root. */
  readonly basePath: string | undefined;
  readonly actions: boolean;
  readonly title: string;
  readonly intervalMs: number;
  readonly history: "watched" | "always";
  readonly notes: readonly DashboardNote[];
  readonly maxStreams: number;
  readonly storeTimeoutMs: number;
  readonly clock: Clock;
  readonly random: Random;
}

const OWNER = "dashboard";
const RECONCILER_METHODS = ["status", "plan", "approve", "pause", "resume", "wake"] as const;

const RULES: OptionRules = {
  store: rules.custom("a LedgerStore", isWholeStore),
  reconcilers: rules.custom("a list of Reconcilers", (value) => Array.isArray(value) && value.every(isReconciler)),
  basePath: rules.custom(
    'a path that begins with a slash, such as "/dashboard"',
    (value) => typeof value === "string" && /^(\/[^?#\s]*)?$/.test(value),
  ),
  actions: rules.flag,
  title: rules.name,
  intervalMs: rules.durationMs,
  history: rules.oneOf("watched", "always"),
  notes: rules.custom("a list of { text, command? }", (value) => Array.isArray(value) && value.every(isNote)),
  maxStreams: rules.count,
  storeTimeoutMs: rules.durationMs,
  clock: rules.clock,
  random: rules.random,
};

/** @throws EvenkeelError `INVALID_OPTIONS` that names the option. */
export function dashboardSettings(options: DashboardOptions): DashboardSettings {
  acceptOptions(OWNER, RULES, options);
  const { store, reconcilers = [], basePath } = options;
  if (store === undefined) throw invalidOptions(OWNER, `store must be ${RULES["store"]?.says}`);
  const byName = new Map(reconcilers.map((reconciler) => [reconciler.name, reconciler]));
  if (byName.size < reconcilers.length) throw invalidOptions(OWNER, "two reconcilers have the same name");
  return {
    store,
    reconcilers: byName,
    basePath: basePath === undefined ? undefined : normalizedPath(basePath),
    actions: options.actions ?? false,
    title: options.title ?? "evenkeel",
    intervalMs: options.intervalMs ?? 2_000,
    history: options.history ?? "watched",
    notes: (options.notes ?? []).map((note) => ({ ...note })),
    maxStreams: options.maxStreams ?? 100,
    storeTimeoutMs: options.storeTimeoutMs ?? 5_000,
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
  };
}

/** As paths come in requests, without slashes at the end. */
export function normalizedPath(basePath: string): string {
  return new URL(`http://localhost${basePath}`).pathname.replace(/\/+$/, "");
}

function isWholeStore(value: unknown): boolean {
  const { resources, leases } = (value ?? {}) as Partial<Record<keyof LedgerStore, Record<string, unknown>>>;
  const has = (part: Record<string, unknown> | undefined, name: string) => typeof part?.[name] === "function";
  return rules.store.test(value) && has(resources, "listGroups") && has(leases, "list");
}

function isReconciler(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const isNamed = typeof (value as Partial<Reconciler>).name === "string";
  return isNamed && RECONCILER_METHODS.every((name) => typeof (value as Record<string, unknown>)[name] === "function");
}

function isNote(value: unknown): boolean {
  const { text, command = "" } = (value ?? {}) as Partial<DashboardNote>;
  return typeof text === "string" && typeof command === "string";
}
