import type { LedgerStore } from "../../store.ts";

/**
 * A store under test, with its time. What is optional are hooks: each lets the suite check more, and is named in
 * {@link StoreCapabilities.hooks}, so that the cases that need it are registered, or skipped by name.
 */
export interface ConformanceSubject {
  readonly store: LedgerStore;
  /** Moves the store's time on by so many milliseconds, for every store object of the ledger. */
  advance(ms: number): Promise<void>;
  /** Closes the store and removes what it left behind. Called after each case. */
  dispose(): Promise<void>;
  /** Another store object on the same ledger, as another process would have it. The suite closes it. */
  reopen?(): Promise<LedgerStore>;
  /** Damages a record behind the store's back. Called with a record that is there, as {@link StoreCapabilities.damages} allows. */
  corrupt?(record: RecordName, damage: RecordDamage): Promise<DamagedRecord>;
  /**
   * Opens a transaction on the store's database as a user would, calls `work` with what `completeInTransaction` takes, waits
   * for it, and ends the transaction. Rolls back when `work` fails, and fails with the same error.
   */
  transact?(work: (tx: unknown) => void | Promise<void>, end: "commit" | "rollback"): Promise<void>;
  /**
   * Keeps the store from beginning anything until what it returns is called: a lock on the file, the only connection of the
   * pool taken, a proxy that holds what it is sent.
   */
  stall?(): Promise<() => Promise<void>>;
}

/** A record, as the part of the ledger that it is in has it; or the ledger as a whole, its schema say. */
export type RecordName =
  | { readonly part: "ledger" }
  | { readonly part: "executions"; readonly id: string }
  | { readonly part: "leases"; readonly name: string }
  | { readonly part: "resources"; readonly group: string; readonly id: string }
  | { readonly part: "fences"; readonly group: string; readonly name: string };

/**
 * - `newerFormat`: written by a later version, which this one can't understand.
 * - `truncated`: only its first half is there.
 * - `missingField`: something that every record has is gone.
 * - `wrongType`: where a number belongs there is a text, or the like.
 * - `swapped`: whole, but the content of another record.
 */
export type RecordDamage = "newerFormat" | "truncated" | "missingField" | "wrongType" | "swapped";

export interface DamagedRecord {
  /** All that the engine holds under the record's name, to be compared with itself later. */
  raw(): Promise<unknown>;
}

/** What a subject may have beyond what it must. */
export type ConformanceHook = "reopen" | "corrupt" | "transact" | "stall";

/** What a store can do beyond what every store has to, and what it leaves out. */
export interface StoreCapabilities {
  /** Whether time stands still but for `advance()`, so that boundaries can be met to the millisecond. Defaults to false. */
  readonly exactTime?: boolean;
  /** Whether the user's keys are kept beside their digest. Defaults to true. */
  readonly storeKeys?: boolean;
  /**
   * Whether `watch` wakes on completion and release: those of the same store object (`true`), or those of every store object
   * on the ledger (`"shared"`). Defaults to false: a store need not push.
   */
  readonly watch?: boolean | "shared";
  /** Whether expired records stay until `purge` deletes them, so that it can count them. Defaults to true. */
  readonly purge?: boolean;
  /** The largest outcome that the store takes, in bytes. Defaults to 5,242,880. */
  readonly maxOutcomeBytes?: number;
  /** The hooks that the subject has, but for `corrupt`. Defaults to none. */
  readonly hooks?: readonly Exclude<ConformanceHook, "corrupt">[];
  /**
   * The kinds of damage that the hook `corrupt` can do to each part, of those that the store promises to see. Defaults to
   * none.
   */
  readonly damages?: Readonly<Partial<Record<RecordName["part"], readonly RecordDamage[]>>>;
  /** Whether a record that can't be read stays when its time is up; not where the engine deletes by time. Defaults to true. */
  readonly corruptStays?: boolean;
}

/** What is undefined counts as left out. */
export function withDefaults(capabilities: StoreCapabilities): Required<StoreCapabilities> {
  const given = Object.entries(capabilities).filter(([, value]) => value !== undefined);
  return {
    exactTime: false,
    storeKeys: true,
    watch: false,
    purge: true,
    maxOutcomeBytes: 5 * 1024 * 1024,
    hooks: [],
    damages: {},
    corruptStays: true,
    ...Object.fromEntries(given),
  };
}
