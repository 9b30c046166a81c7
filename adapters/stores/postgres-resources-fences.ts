import type { PostgresNames } from "./postgres-names.ts";
import { CORRUPT_RECORD, MAX } from "./postgres-resources-functions.ts";

/** The epochs of parts of groups. No constraints, as on the other tables. */
export function fencesTable(names: PostgresNames): string {
  return `
    CREATE TABLE ${names.of("fences")} (
      group_name text COLLATE "C",
      name text COLLATE "C",
      epoch bigint,
      PRIMARY KEY (group_name, name)
    ) WITH (fillfactor = 80);`;
}

/** The variables of {@link decideFences}. */
export const FENCE_VARIABLES = "v_broken boolean; v_fences json; v_lower jsonb; v_raised text[]; v_epochs bigint[];";

/**
 * What `decideFences` in `resource-writes.ts` does, over all of `p_fences` at once: a group has one writer at a time. It sets
 *
 * - `v_fences` to those that are too low, as they are answered, and `v_lower` to the same by name; both NULL where none is,
 * - `v_raised` to the names of those that it has stored, NULL where there was none. Their group has to be written too then: at
 *   REPEATABLE READ and SERIALIZABLE whoever waited for it reads fences as they were before, and is told so by nothing else.
 */
export function decideFences(names: PostgresNames): string {
  const fences = names.of("fences");
  const isRaised = "e.name IS NULL OR e.epoch < f.epoch";
  return `
      IF p_fences IS NOT NULL THEN
        SELECT bool_or(e.name IS NOT NULL AND (e.epoch BETWEEN 0 AND ${MAX}) IS NOT TRUE),
          json_agg(json_build_object('name', f.name, 'epoch', e.epoch) ORDER BY f.n) FILTER (WHERE e.epoch > f.epoch),
          jsonb_object_agg(f.name, e.epoch) FILTER (WHERE e.epoch > f.epoch),
          array_agg(f.name) FILTER (WHERE ${isRaised}), array_agg(f.epoch) FILTER (WHERE ${isRaised})
          INTO v_broken, v_fences, v_lower, v_raised, v_epochs
        FROM ROWS FROM (json_to_recordset(p_fences) AS (name text, epoch bigint)) WITH ORDINALITY AS f(name, epoch, n)
        -- OFFSET keeps it a look into the index for each, however many fences the group has.
        LEFT JOIN LATERAL (SELECT s.name, s.epoch FROM ${fences} s WHERE s.group_name = p_group AND s.name = f.name OFFSET 0) e
          ON true;
        IF v_broken THEN RAISE SQLSTATE '${CORRUPT_RECORD}'; END IF;
        IF v_raised IS NOT NULL THEN
          INSERT INTO ${fences} AS e (group_name, name, epoch)
            SELECT p_group, f.name, f.epoch FROM unnest(v_raised, v_epochs) AS f(name, epoch)
            ON CONFLICT (group_name, name) DO UPDATE SET epoch = excluded.epoch;
        END IF;
      END IF;`;
}
