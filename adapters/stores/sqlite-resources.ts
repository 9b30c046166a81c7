import type { Clock } from "../../src/clock.ts";
import { changesAnswer, changesStart } from "../../src/resource-changes.ts";
import { decideBeats, silentSince, staleAnswer } from "../../src/resource-heartbeats.ts";
import {
  afterPurge,
  desiredOf,
  type FencedRows,
  type GroupDecision,
  type GroupRecord,
  type ResourceContext,
  type ResourceRecord,
  type ResourceRows,
  resourceRowOf,
} from "../../src/resource-record.ts";
import { copyOfApply, decideApply, decideDesired } from "../../src/resource-writes.ts";
import type { ResourceStore } from "../../src/store.ts";
import type { PreparedConnection, SqliteConnection } from "./sqlite-connection.ts";
import { nextFencingNumber } from "./sqlite-fencing.ts";
import { fenceEpochOf, groupOf, groupRowOf, resourceColumnsOf, resourceOf } from "./sqlite-resource-rows.ts";
import { resourceStatements } from "./sqlite-resource-statements.ts";
import type { SqliteTables } from "./sqlite-schema.ts";

export interface SqliteResourcesOptions {
  readonly connection: SqliteConnection;
  readonly tables: SqliteTables;
  readonly clock: Clock;
}

/**
 * The resources of a SQLite ledger: the protocol's pure decisions, each inside one transaction. A row that can't be read fails
 * every answer that it would be in: a reconciler that took it for absent would replace it.
 */
export function sqliteResources({ connection, tables, clock }: SqliteResourcesOptions): ResourceStore {
  const sql = resourceStatements(tables);

  /** Whole milliseconds, whatever the clock gives: the columns hold nothing else. */
  const now = (): number => Math.floor(clock.now());

  function loadGroup(on: PreparedConnection, group: string): GroupRecord | undefined {
    const row = on.statement(sql.loadGroup).get(group);
    return row === undefined ? undefined : groupOf(row);
  }

  function saveGroup(on: PreparedConnection, record: GroupRecord): void {
    on.statement(sql.saveGroup).run(...groupRowOf(record));
  }

  function carryOut<Result>(on: PreparedConnection, { result, write }: GroupDecision<Result>): Result {
    if (write !== undefined) saveGroup(on, write);
    return result;
  }

  function contextOf(on: PreparedConnection): ResourceContext {
    return { nowMs: now(), nextToken: () => nextFencingNumber(on, tables) };
  }

  function newest(on: PreparedConnection, group: string, id: string): ResourceRecord | undefined {
    const row = on.statement(sql.newest).get(group, id);
    return row === undefined ? undefined : resourceOf(row);
  }

  function rowsOf(on: PreparedConnection, group: string, save: ResourceRows["save"]): ResourceRows {
    return {
      load(id, incarnation) {
        const row = on.statement(sql.load).get(group, id, incarnation);
        return row === undefined ? undefined : resourceOf(row);
      },
      newest: (id) => newest(on, group, id),
      save,
    };
  }

  function fencedRowsOf(on: PreparedConnection, group: string): FencedRows {
    return {
      ...rowsOf(on, group, (record) => on.statement(sql.save).run(...resourceColumnsOf(record))),
      loadFence(name) {
        const row = on.statement(sql.loadFence).get(group, name);
        return row === undefined ? undefined : fenceEpochOf(row);
      },
      saveFence: ({ name, epoch }) => on.statement(sql.saveFence).run(group, name, epoch),
    };
  }

  return {
    getDesired(group, call) {
      return connection.read(call, (on) => desiredOf(loadGroup(on, group)));
    },

    setDesired(request, call) {
      const own = { ...request };
      return connection.write(call, (on) => {
        return carryOut(on, decideDesired(loadGroup(on, own.group), own, contextOf(on)));
      });
    },

    async apply(request, call) {
      // The batch comes later: what the caller does to the writes until then must not get into the ledger.
      const own = copyOfApply(request);
      return connection.write(call, (on) => {
        return carryOut(on, decideApply(loadGroup(on, own.group), own, fencedRowsOf(on, own.group), contextOf(on)));
      });
    },

    heartbeat(request, call) {
      const { group } = request;
      const own = { group, beats: request.beats.map((beat) => ({ ...beat })) };
      return connection.write(call, (on) => {
        const rows = rowsOf(on, group, (record) => {
          const { id, incarnation, state, lastHeartbeatAt = null } = record;
          const silent = state === "PROVISIONED" ? silentSince(record) : null;
          on.statement(sql.stamp).run(lastHeartbeatAt, silent, group, id, incarnation);
        });
        return decideBeats(loadGroup(on, group), own, rows, now());
      });
    },

    get(group, id, call) {
      return connection.read(call, (on) => {
        const record = newest(on, group, id);
        return record === undefined ? undefined : resourceRowOf(record, now());
      });
    },

    list({ group, states, limit, after }, call) {
      const { id, incarnation } = after ?? { id: "", incarnation: 0 };
      const wanted = states === undefined ? null : JSON.stringify(states);
      return connection.read(call, (on) => {
        const nowMs = now();
        const rows = on.statement(sql.list).all(group, id, incarnation, wanted, wanted, limit);
        return rows.map((row) => resourceRowOf(resourceOf(row), nowMs));
      });
    },

    changedSince({ group, cursor, limit }, call) {
      return connection.read(call, (on) => {
        const stored = loadGroup(on, group);
        const start = changesStart(stored, cursor);
        const rows = on.statement(sql.changes).all(group, start.afterSequence, limit);
        return changesAnswer(stored, start, rows.map(resourceOf), now());
      });
    },

    staleBefore({ group, ageMs, limit }, call) {
      return connection.read(call, (on) => {
        const nowMs = now();
        const silentBefore = nowMs - ageMs;
        const rows = on.statement(sql.longestSilent).all(group, silentBefore, limit + 1, group, silentBefore);
        return staleAnswer(rows.map(resourceOf), { group, ageMs, limit }, nowMs);
      });
    },

    purge({ group, ageMs, limit }, call) {
      return connection.write(call, (on) => {
        const stored = loadGroup(on, group);
        const old = on.statement(sql.purgeable).all(group, now() - ageMs, limit) as PurgeableRow[];
        if (stored === undefined || old.length === 0) return { purged: 0 };
        saveGroup(on, afterPurge(stored, old));
        for (const { id, incarnation } of old) on.statement(sql.remove).run(group, id, incarnation);
        return { purged: old.length };
      });
    },

    listGroups({ limit, after = "" }, call) {
      return connection.read(call, (on) => {
        return on
          .statement(sql.listGroups)
          .all(after, limit)
          .map((row) => (row as { name: string }).name);
      });
    },
  };
}

interface PurgeableRow {
  readonly id: string;
  readonly incarnation: number;
}
