import { groupNamesKey } from "./redis-resources-keys.ts";
import type { Steps } from "./redis-resources-steps.ts";
import { REGISTER_GROUP } from "./redis-resources-writes.ts";

/**
 * Keeps the names of the groups, for `listGroups`.
 *
 * In a cluster a group and the names are on different nodes, so no script can write both. A name is put down before the first
 * write of this object to its group: a crash in between leaves a name whose group reads as if it had never been written, and
 * never a group that nobody can find. That is one more round trip, once for each group that a process writes.
 */
export interface GroupNames {
  /** Before a write to a group. */
  register(group: string, steps: Steps): Promise<void>;
  /** After a write that made the group. Puts the name down again if it was before: the ledger was lost meanwhile. */
  made(group: string, steps: Steps): Promise<void>;
}

export function groupNames(prefix: string): GroupNames {
  const registered = new Set<string>();
  /** Those whose name was put down, and whose first answer has not come yet. */
  const justNow = new WeakSet<Steps>();

  async function put(group: string, steps: Steps): Promise<void> {
    await steps.run(REGISTER_GROUP, [groupNamesKey(prefix)], [group]);
    registered.add(group);
  }

  return {
    async register(group, steps) {
      if (registered.has(group)) return;
      await put(group, steps);
      justNow.add(steps);
    },

    async made(group, steps) {
      if (justNow.has(steps)) return;
      // Should it fail, the repetition finds the group there, and the name not.
      registered.delete(group);
      await put(group, steps);
    },
  };
}
