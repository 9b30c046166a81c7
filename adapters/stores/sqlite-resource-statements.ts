import { GROUP_COLUMNS, RESOURCE_COLUMNS, RESOURCE_FORMAT } from "./sqlite-resource-rows.ts";
import type { SqliteTables } from "./sqlite-schema.ts";

/**
 * The statements on groups, resources and fences. Each that answers "what of all these" goes along an index and reads what it
 * answers: `changes` and `longestSilent` over rows at rest read none and one.
 */
export function resourceStatements({ groups, resources, fences }: SqliteTables) {
  return {
    loadGroup: `SELECT * FROM ${groups} WHERE name = ?`,
    saveGroup: upsert(groups, GROUP_COLUMNS, ["name"]),
    listGroups: `SELECT name FROM ${groups} WHERE name > ? ORDER BY name LIMIT ?`,
    load: `SELECT * FROM ${resources} WHERE group_name = ? AND id = ? AND incarnation = ?`,
    newest: `SELECT * FROM ${resources} WHERE group_name = ? AND id = ? ORDER BY incarnation DESC LIMIT 1`,
    save: upsert(resources, RESOURCE_COLUMNS, ["group_name", "id", "incarnation"]),
    stamp: `UPDATE ${resources} SET last_heartbeat_at = ?, silent_since = ?
      WHERE group_name = ? AND id = ? AND incarnation = ?`,
    remove: `DELETE FROM ${resources} WHERE group_name = ? AND id = ? AND incarnation = ?`,
    // What is no epoch comes as NULL: node:sqlite throws at numbers that JavaScript can't keep.
    loadFence: `SELECT CASE WHEN typeof(epoch) = 'integer' AND epoch BETWEEN 0 AND ${Number.MAX_SAFE_INTEGER} THEN epoch END
      AS epoch FROM ${fences} WHERE group_name = ? AND name = ?`,
    saveFence: upsert(fences, ["group_name", "name", "epoch"], ["group_name", "name"]),
    list: `SELECT * FROM ${resources} WHERE group_name = ? AND (id, incarnation) > (?, ?)
      AND (? IS NULL OR state IN (SELECT value FROM json_each(?))) ORDER BY id, incarnation LIMIT ?`,
    changes: `SELECT * FROM ${resources} WHERE group_name = ? AND sequence > ? ORDER BY sequence LIMIT ?`,
    // The stale ones, and the one behind them.
    longestSilent: `SELECT * FROM (SELECT * FROM ${resources} WHERE group_name = ? AND silent_since < ?
        ORDER BY silent_since LIMIT ?)
      UNION ALL SELECT * FROM (SELECT * FROM ${resources} WHERE group_name = ? AND silent_since >= ?
        ORDER BY silent_since LIMIT 1)`,
    // What can't be read stays.
    purgeable: `SELECT id, incarnation FROM ${resources} WHERE group_name = ? AND state = 'TERMINATED'
      AND state_changed_at <= ? AND typeof(state_changed_at) || typeof(incarnation) || typeof(version) = 'integerintegerinteger'
      AND typeof(id) || typeof(nonce) = 'texttext' AND format = ${RESOURCE_FORMAT} ORDER BY state_changed_at LIMIT ?`,
  } as const;
}

function upsert(table: string, columns: readonly string[], key: readonly string[]): string {
  const updates = columns.filter((column) => !key.includes(column)).map((column) => `${column} = excluded.${column}`);
  return `INSERT INTO ${table} (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})
    ON CONFLICT (${key.join(", ")}) DO UPDATE SET ${updates.join(", ")}`;
}
