import type { Clock } from "../../src/clock.ts";
import { isEvenkeelError } from "../../src/errors.ts";
import { recordCorrupt } from "../../src/execution-record.ts";
import {
  decideAcquire,
  decideLeaseRelease,
  decideLeaseRenewal,
  type LeaseDecision,
  type LeaseRecord,
  leaseViewOf,
} from "../../src/lease-record.ts";
import type { LeaseStore, LeaseView } from "../../src/store.ts";
import type { PreparedConnection, SqliteConnection } from "./sqlite-connection.ts";
import { nextFencingNumber } from "./sqlite-fencing.ts";
import type { SqliteTables } from "./sqlite-schema.ts";

/** How long a lapsed lease is kept, so that a holder who is late is told that it was lost. */
const KEPT_AFTER_LAPSE_MS = 3_600_000;
/** How many of them each acquisition deletes, so that names that nobody asks for again don't stay for ever. */
const SWEPT_PER_ACQUISITION = 2;

const WHOLE = ["epoch", "renewals", "duration_ms", "expires_at"].map(
  (column) => `typeof(${column}) = 'integer' AND abs(${column}) <= ${Number.MAX_SAFE_INTEGER}`,
);

/** Whether a row of the leases can be read, as a condition. */
export const SOUND_LEASE = ["typeof(holder) || typeof(nonce) = 'texttext'", ...WHOLE].join(" AND ");

export interface SqliteLeasesOptions {
  readonly connection: SqliteConnection;
  readonly tables: SqliteTables;
  readonly clock: Clock;
}

/** The leases of a SQLite ledger: the protocol's pure decisions, each inside one transaction. */
export function sqliteLeases({ connection, tables, clock }: SqliteLeasesOptions): LeaseStore {
  const { leases } = tables;
  const sql = {
    load: `SELECT * FROM ${leases} WHERE name = ?`,
    save: `INSERT INTO ${leases} (name, holder, nonce, epoch, renewals, duration_ms, expires_at)
      VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, nonce = excluded.nonce,
      epoch = excluded.epoch, renewals = excluded.renewals, duration_ms = excluded.duration_ms,
      expires_at = excluded.expires_at`,
    remove: `DELETE FROM ${leases} WHERE name = ?`,
    // What can't be read stays. The epochs are counted elsewhere.
    sweep: `DELETE FROM ${leases} WHERE rowid IN (SELECT rowid FROM ${leases} WHERE expires_at <= ? AND
      ${SOUND_LEASE}
      LIMIT ${SWEPT_PER_ACQUISITION})`,
    // Not LIKE: a prefix may hold its wildcards.
    list: `SELECT * FROM ${leases} WHERE substr(name, 1, length(?)) = ? ORDER BY name`,
  } as const;

  /** Whole milliseconds, whatever the clock gives: the columns hold nothing else. */
  const now = (): number => Math.floor(clock.now());

  function load(on: PreparedConnection, name: string): LeaseRecord | undefined {
    const row = on.statement(sql.load).get(name);
    return row === undefined ? undefined : leaseOf(row);
  }

  function carryOut<Result>(on: PreparedConnection, name: string, { result, write }: LeaseDecision<Result>): Result {
    if (write === "delete") on.statement(sql.remove).run(name);
    else if (write !== undefined) {
      const { holder, nonce, epoch, renewals, durationMs, expiresAt } = write;
      on.statement(sql.save).run(name, holder, nonce, epoch, renewals, durationMs, expiresAt);
    }
    return result;
  }

  return {
    acquire(asked, call) {
      const request = { ...asked };
      const { name } = request;
      return connection.write(call, (on) => {
        const nowMs = now();
        const decision = decideAcquire(load(on, name), request, nowMs, () => nextFencingNumber(on, tables));
        const result = carryOut(on, name, decision);
        if (decision.write !== undefined) on.statement(sql.sweep).run(nowMs - KEPT_AFTER_LAPSE_MS);
        return result;
      });
    },

    renew(asked, call) {
      const request = { ...asked };
      const { name } = request;
      return connection.write(call, (on) => carryOut(on, name, decideLeaseRenewal(load(on, name), request, now())));
    },

    release(asked, call) {
      const request = { ...asked };
      const { name } = request;
      return connection.write(call, (on) => carryOut(on, name, decideLeaseRelease(load(on, name), request)));
    },

    get(name, call) {
      return connection.read(call, (on) => leaseViewOf(load(on, name), now()));
    },

    list(prefix, call) {
      return connection.read(call, (on) => {
        const nowMs = now();
        const views = on
          .statement(sql.list)
          .all(prefix, prefix)
          .map((row) => readableView(row, nowMs));
        return views.filter((view): view is LeaseView => view !== undefined);
      });
    },
  };
}

/** One broken row must not hide all others: `get` says of it that it is corrupt. */
function readableView(row: unknown, nowMs: number): LeaseView | undefined {
  try {
    return leaseViewOf(leaseOf(row), nowMs);
  } catch (error) {
    if (isEvenkeelError(error)) return undefined;
    throw error;
  }
}

/** @throws EvenkeelError `RECORD_CORRUPT` for a row that this version did not write. */
function leaseOf(row: unknown): LeaseRecord {
  const { name, holder, nonce, epoch, renewals, duration_ms, expires_at } = row as Record<string, unknown>;
  const texts = [name, holder, nonce];
  const numbers = [epoch, renewals, duration_ms, expires_at];
  if (!texts.every((text) => typeof text === "string") || !numbers.every(Number.isSafeInteger)) {
    throw recordCorrupt("it is not a lease");
  }
  return {
    name: name as string,
    holder: holder as string,
    nonce: nonce as string,
    epoch: epoch as number,
    renewals: renewals as number,
    durationMs: duration_ms as number,
    expiresAt: expires_at as number,
  };
}
