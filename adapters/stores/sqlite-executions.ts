import type { Clock } from "../../src/clock.ts";
import { isEvenkeelError } from "../../src/errors.ts";
import {
  type Decision,
  decideClaim,
  decideComplete,
  decideRelease,
  decideRenew,
  decideSeize,
  decideStep,
  type ExecutionRecord,
  viewOf,
} from "../../src/execution-record.ts";
import type { ClaimRequest, ExecutionStore, ExecutionView, StepRecord, StoredOutcome } from "../../src/store.ts";
import type { PreparedConnection, SqliteConnection } from "./sqlite-connection.ts";
import { nextFencingNumber } from "./sqlite-fencing.ts";
import { bindable, COLUMNS, READABLE, recordOf, rowOf, stepOf } from "./sqlite-rows.ts";
import type { SqliteTables } from "./sqlite-schema.ts";
import { Watchers } from "./watchers.ts";

/** How many expired records each grant of a claim deletes, so that a ledger in use does not grow for ever. */
const PURGED_PER_GRANT = 2;

export interface SqliteExecutionsOptions {
  readonly connection: SqliteConnection;
  readonly tables: SqliteTables;
  readonly clock: Clock;
  readonly storeKeys: boolean;
}

/** The executions of a SQLite ledger: the protocol's pure decisions, each inside one transaction. */
export function sqliteExecutions({ connection, tables, clock, storeKeys }: SqliteExecutionsOptions): ExecutionStore {
  const sql = statements(tables);
  const watchers = new Watchers();

  /** Whole milliseconds, whatever the clock gives: the columns hold nothing else. */
  const now = (): number => Math.floor(clock.now());

  function load(on: PreparedConnection, id: string): ExecutionRecord | undefined {
    const row = on.statement(sql.load).get(id);
    return row === undefined ? undefined : recordOf(row);
  }

  function loadSteps(on: PreparedConnection, id: string): StepRecord[] {
    return on.statement(sql.loadSteps).all(id).map(stepOf);
  }

  function carryOut<Result>(on: PreparedConnection, id: string, decision: Decision<Result>): Result {
    const { write, forgetSteps, result } = decision;
    if (forgetSteps) on.statement(sql.forgetSteps).run(id);
    if (write === "delete") on.statement(sql.remove).run(id);
    else if (write !== undefined) on.statement(sql.save).run(...rowOf(write));
    return result;
  }

  function purge(on: PreparedConnection, limit: number): number {
    const expired = on.statement(sql.expired).all(now(), limit) as { id: string }[];
    for (const { id } of expired) {
      on.statement(sql.forgetSteps).run(id);
      on.statement(sql.remove).run(id);
    }
    return expired.length;
  }

  function decide(
    on: PreparedConnection,
    request: ClaimRequest,
    takeToken: () => number,
  ): ReturnType<typeof decideClaim> {
    const { key, ...keyless } = request;
    return decideClaim(load(on, request.id), storeKeys ? request : keyless, {
      nowMs: now(),
      nextToken: takeToken,
      steps: () => loadSteps(on, request.id),
    });
  }

  return {
    // The batch comes later: what the caller does to a request until then must not get into the ledger.
    async claim(asked, call) {
      const request = { ...asked };
      // Most duplicates are answered by a read, which takes no lock; what has to be written is decided again inside the
      // transaction, so nothing rests on what was read before.
      const known = await connection.read(call, (on) => {
        const decision = decide(on, request, () => 0);
        return decision.write === undefined ? decision.result : undefined;
      });
      if (known !== undefined) return known;
      return connection.write(call, (on) => {
        let granted = false;
        const decision = decide(on, request, () => {
          granted = true;
          return nextFencingNumber(on, tables);
        });
        const result = carryOut(on, request.id, decision);
        if (granted) purge(on, PURGED_PER_GRANT);
        return result;
      });
    },

    renew(asked, call) {
      const request = { ...asked };
      return connection.write(call, (on) => {
        return carryOut(on, request.id, decideRenew(load(on, request.id), request, now()));
      });
    },

    async complete(asked, call) {
      const request = { ...asked, outcome: copyOf(asked.outcome) };
      const result = await connection.write(call, (on) => {
        return carryOut(on, request.id, decideComplete(load(on, request.id), request, now()));
      });
      watchers.wake(request.id);
      return result;
    },

    completeInTransaction(request, tx) {
      return connection.inTransaction(tx, (on) => {
        // The lock first: a deferred transaction that has read can't wait for it any more.
        on.statement(sql.lock).run();
        return carryOut(on, request.id, decideComplete(load(on, request.id), request, now()));
      });
    },

    async release(asked, call) {
      const request = { ...asked, as: { ...asked.as } };
      const result = await connection.write(call, (on) => {
        return carryOut(on, request.id, decideRelease(load(on, request.id), request, now()));
      });
      watchers.wake(request.id);
      return result;
    },

    recordStep(asked, call) {
      const request = { ...asked };
      const { position, name } = request.step;
      const outcome = copyOf(request.step.outcome);
      return connection.write(call, (on) => {
        const status = decideStep(load(on, request.id), request, now());
        if (status === "recorded") {
          on.statement(sql.saveStep).run(request.id, position, name, outcome.kind, bindable(outcome.bytes));
        }
        return { status };
      });
    },

    seize(asked, call) {
      const request = { ...asked };
      return connection.write(call, (on) => {
        const context = { nowMs: now(), nextToken: () => nextFencingNumber(on, tables) };
        return carryOut(on, request.id, decideSeize(load(on, request.id), request, context));
      });
    },

    get(id, call) {
      return connection.read(call, (on) => viewOf(load(on, id), now()));
    },

    list({ operation = null, status = null, limit, after = "" }, call) {
      return connection.read(call, (on) => {
        const nowMs = now();
        const stored = status === "abandoned" ? "running" : status;
        const found: ExecutionView[] = [];
        for (let from = after; found.length < limit; ) {
          const page = on.statement(sql.list).all(from, stored, stored, operation, operation, limit);
          for (const row of page) {
            const view = readableView(row, nowMs);
            if (view !== undefined && (status === null || view.status === status)) found.push(view);
            if (found.length === limit) break;
          }
          if (page.length < limit) break;
          from = (page.at(-1) as { id: string }).id;
        }
        return found;
      });
    },

    recent({ operation = null, limit }, call) {
      return connection.read(call, (on) => {
        const nowMs = now();
        const found: ExecutionView[] = [];
        for (let passed = 0; found.length < limit; passed += limit) {
          const page = on.statement(sql.recent).all(nowMs, operation, operation, limit, passed);
          for (const row of page) {
            const view = readableView(row, nowMs);
            if (view !== undefined && found.length < limit) found.push(view);
          }
          if (page.length < limit) break;
        }
        return found;
      });
    },

    async purge({ limit }, call) {
      return { purged: await connection.write(call, (on) => purge(on, limit)) };
    },

    countExpired(call) {
      return connection.read(call, (on) => {
        // Rows of node:sqlite have no prototype.
        const { count } = on.statement(sql.countExpired).get(now()) as { count: number };
        return { count };
      });
    },

    watch: (id, wake) => watchers.watch(id, wake),
  };
}

function copyOf({ kind, bytes }: StoredOutcome): StoredOutcome {
  return { kind, bytes: new Uint8Array(bytes) };
}

/** One broken row must not hide all others: `get` says of it that it is corrupt. */
function readableView(row: unknown, nowMs: number): ExecutionView | undefined {
  try {
    return viewOf(recordOf(row), nowMs);
  } catch (error) {
    if (isEvenkeelError(error)) return undefined;
    throw error;
  }
}

function statements({ executions, steps, fencing }: SqliteTables) {
  const updates = COLUMNS.slice(1).map((column) => `${column} = excluded.${column}`);
  return {
    load: `SELECT * FROM ${executions} WHERE id = ?`,
    save: `INSERT INTO ${executions} (${COLUMNS.join(", ")}) VALUES (${COLUMNS.map(() => "?").join(", ")})
      ON CONFLICT (id) DO UPDATE SET ${updates.join(", ")}`,
    remove: `DELETE FROM ${executions} WHERE id = ?`,
    lock: `UPDATE ${fencing} SET last_token = last_token`,
    loadSteps: `SELECT position, name, outcome_kind, outcome FROM ${steps} WHERE id = ? ORDER BY position`,
    saveStep: `INSERT INTO ${steps} (id, position, name, outcome_kind, outcome) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
    forgetSteps: `DELETE FROM ${steps} WHERE id = ?`,
    expired: `SELECT id FROM ${executions} WHERE expires_at <= ? AND ${READABLE} LIMIT ?`,
    countExpired: `SELECT count(*) AS count FROM ${executions} WHERE expires_at <= ? AND ${READABLE}`,
    // The unary plus keeps it off the index by expiry, which nearly all records are in.
    recent: `SELECT * FROM ${executions} WHERE +expires_at > ? AND (? IS NULL OR operation = ?) AND ${READABLE}
      ORDER BY created_at DESC, id LIMIT ? OFFSET ?`,
    list: `SELECT * FROM ${executions} WHERE id > ? AND (? IS NULL OR status = ?) AND (? IS NULL OR operation = ?)
      ORDER BY id LIMIT ?`,
  } as const;
}
