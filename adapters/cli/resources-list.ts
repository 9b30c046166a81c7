import { RESOURCE_STATES } from "../../src/resources/resource-state.ts";
import type { ResourceRow } from "../../src/store.ts";
import { command } from "./command.ts";
import { EXIT } from "./exit-status.ts";
import { count, oneOf, text } from "./option-spec.ts";
import { groupNames, resourceRows } from "./resource-rows.ts";
import { heartbeatText, leaseText, resourceJson } from "./resource-text.ts";
import { lookAtGroup, tellUnreadable, type UnreadableGroup } from "./unreadable-groups.ts";

/** The resources of a group, or of all, each incarnation a row. */
export const resourcesList = command({
  name: "resources list",
  summary: "list the resources of a group, or of all, each incarnation a row",
  details: ["TERMINATED rows are tombstones: the ledger keeps them for an hour, to know zombies by."],
  options: {
    group: text("GROUP", "only resources of this group"),
    state: oneOf("STATE", "only resources in this state", RESOURCE_STATES),
    limit: count("N", "how many at most", 100),
  },
  async run({ options, json, output, store, ask, signal }) {
    const reader = { store: await store(), ask };
    const states = options.state === undefined ? {} : { states: [options.state] };
    const rows: ResourceRow[] = [];
    const unreadable: UnreadableGroup[] = [];
    for await (const group of options.group === undefined ? groupNames(reader) : [options.group]) {
      signal.throwIfAborted();
      // One more than asked for, to know whether there are more.
      const limit = options.limit + 1 - rows.length;
      const unread = await lookAtGroup(group, async () => {
        for await (const row of resourceRows(reader, { group, limit, ...states })) rows.push(row);
      });
      unreadable.push(...unread);
      if (rows.length > options.limit) break;
    }
    const shown = rows.slice(0, options.limit);
    const more = rows.length > options.limit;
    const status = unreadable.length === 0 ? EXIT.done : EXIT.finding;
    tellUnreadable(unreadable, output);
    if (json) {
      output.json({ resources: shown.map(resourceJson), more, ...(unreadable.length === 0 ? {} : { unreadable }) });
      return status;
    }
    if (shown.length > 0) {
      await output.table(
        [
          ...[{ head: "group" }, { head: "id" }, { head: "inc", align: "right" as const }, { head: "state" }],
          ...[
            { head: "gen", align: "right" as const },
            { head: "heartbeat", align: "right" as const },
          ],
          ...[{ head: "lease", align: "right" as const }, { head: "reason" }],
        ],
        shown.map((row) => [
          ...[row.group, row.id, String(row.incarnation), row.state, String(row.generation)],
          ...[heartbeatText(row), leaseText(row), row.reason ?? ""],
        ]),
      );
    } else if (unreadable.length === 0) output.line("no resource is there");
    if (more) output.note(`there are more than ${options.limit}: say --limit`);
    return status;
  },
});
