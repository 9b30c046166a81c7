/** From where on the doctor speaks. */
export interface DoctorLimits {
  /** The `-wal` file of SQLite, in bytes. Defaults to 64 MiB. */
  readonly walBytes: number;
  /** Free space on the ledger's disk, in bytes: less is a warning, less than a tenth of it an error. Defaults to 256 MiB. */
  readonly freeDiskBytes: number;
  /** The share of Redis' memory that may be used, from 0 to 1. Defaults to 0.8. */
  readonly memoryShare: number;
  /** The median of a few round trips, in milliseconds. Defaults to 100. */
  readonly latencyMs: number;
  /** How far an engine's clock may be from this machine's, in milliseconds. Defaults to 2,000. */
  readonly clockSkewMs: number;
  /** The share of connections that should be left, from 0 to 1. Defaults to 0.1. */
  readonly connectionsLeftShare: number;
  /** How long a session may be idle in a transaction, in milliseconds. Defaults to 60,000. */
  readonly idleInTransactionMs: number;
  /** How long a transaction may take, in milliseconds. Defaults to 600,000. */
  readonly transactionMs: number;
  /** Dead rows of a table, where they are more than the live ones. Defaults to 50,000. */
  readonly deadRows: number;
  /** How old a running execution may be, in milliseconds. Defaults to 3,600,000. */
  readonly runningMs: number;
  /** How often an execution may be taken over. Defaults to 10. */
  readonly attempts: number;
  /** Expired records that were not purged. Defaults to 10,000. */
  readonly expired: number;
  /** How long a group may not be converged, or a condition hold, in milliseconds. Defaults to 300,000. */
  readonly unconvergedMs: number;
  /** How long a resource that has beaten may be silent, be created, or be terminated, in milliseconds. Defaults to 600,000. */
  readonly resourceMs: number;
  /** How long a lapsed lease of a creation may lie there, in milliseconds. Defaults to 60,000. */
  readonly lapsedMs: number;
  /** After how long what passes by itself in a healthy system is looked at again, in milliseconds. Defaults to 3,000. */
  readonly settleMs: number;
  /** How many records of each kind are read at most. Defaults to 100,000. */
  readonly records: number;
}

export const DOCTOR_LIMITS: DoctorLimits = Object.freeze({
  walBytes: 64 * 1_048_576,
  freeDiskBytes: 256 * 1_048_576,
  memoryShare: 0.8,
  latencyMs: 100,
  clockSkewMs: 2_000,
  connectionsLeftShare: 0.1,
  idleInTransactionMs: 60_000,
  transactionMs: 600_000,
  deadRows: 50_000,
  runningMs: 3_600_000,
  attempts: 10,
  expired: 10_000,
  unconvergedMs: 300_000,
  resourceMs: 600_000,
  lapsedMs: 60_000,
  settleMs: 3_000,
  records: 100_000,
});
