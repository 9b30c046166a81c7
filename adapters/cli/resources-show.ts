import { type DesiredEntry, type DesiredSet, desiredOfText } from "../../src/resources/desired-text.ts";
import { shownName } from "../../src/shown-text.ts";
import type { ResourceRow } from "../../src/store.ts";
import { command } from "./command.ts";
import { durationText } from "./duration-text.ts";
import { EXIT } from "./exit-status.ts";
import { flag, text } from "./option-spec.ts";
import type { Output } from "./output.ts";
import { groupNames, incarnationsOf, type ResourceReader } from "./resource-rows.ts";
import { heartbeatText, leaseText, resourceJson } from "./resource-text.ts";
import { lookAtGroup, tellUnreadable, type UnreadableGroup } from "./unreadable-groups.ts";
import { UsageError } from "./usage-error.ts";

/** What the ledger has of one resource. */
interface Found {
  readonly group: string;
  readonly generation: number;
  readonly desired: DesiredEntry | undefined;
  readonly rows: readonly ResourceRow[];
}

/** One resource: whether it is desired, and all its incarnations that the ledger keeps. */
export const resourcesShow = command({
  name: "resources show",
  summary: "show one resource: whether it is desired, and its incarnations",
  argument: { name: "ID", required: "required" },
  options: {
    group: text("GROUP", "whose resource it is. Needed where several groups have one of this id"),
    spec: flag("print the specs too, as tagged JSON"),
  },
  async run({ options, argument: id = "", json, output, store, ask, signal }) {
    const reader = { store: await store(), ask };
    const found: Found[] = [];
    const unreadable: UnreadableGroup[] = [];
    for await (const group of options.group === undefined ? groupNames(reader) : [options.group]) {
      signal.throwIfAborted();
      const unread = await lookAtGroup(group, async () => {
        const resource = await find(reader, group, id);
        if (resource.desired !== undefined || resource.rows.length > 0) found.push(resource);
      });
      unreadable.push(...unread);
    }
    tellUnreadable(unreadable, output);
    const [resource, ...others] = found;
    if (resource === undefined) {
      if (json) output.json({ resource: null });
      else {
        const place = options.group === undefined ? "" : ` in the group ${shownName(options.group)}`;
        output.note(
          `there is no resource ${shownName(id)}${place}${unreadable.length === 0 ? "" : " that can be read"}`,
        );
      }
      return EXIT.finding;
    }
    if (others.length > 0) {
      throw new UsageError(
        `resources show: the groups ${found.map(({ group }) => shownName(group)).join(", ")} have one: say --group`,
      );
    }
    if (json) output.json({ resource: asJson(resource, options.spec) });
    else print(resource, id, options.spec, output);
    // Another of this id may be where nobody can look.
    return unreadable.length === 0 ? EXIT.done : EXIT.finding;
  },
});

async function find(reader: ResourceReader, group: string, id: string): Promise<Found> {
  const { store, ask } = reader;
  const { generation, desired } = await ask((call) => store.resources.getDesired(group, call));
  const set = desired === undefined ? undefined : await desiredOfText(desired);
  const rows = await incarnationsOf(reader, group, id);
  return { group, generation, desired: set && entryIn(group, set, id), rows };
}

function entryIn(group: string, set: DesiredSet, id: string): DesiredEntry | undefined {
  if (set.kind === "list") return set.resources.find((entry) => entry.id === id);
  // Written in no other way: `web-7`, not `web-07`.
  const number = id.startsWith(`${group}-`) ? /^(0|[1-9]\d*)$/.exec(id.slice(group.length + 1))?.[1] : undefined;
  return number !== undefined && Number(number) < set.count ? { id } : undefined;
}

function asJson({ group, generation, desired, rows }: Found, withSpec: boolean) {
  const specOf = (spec: string | undefined) => (withSpec && spec !== undefined ? { spec: parsed(spec) } : {});
  return {
    group,
    generation,
    desired: desired === undefined ? null : { deletionCost: desired.deletionCost ?? 0, ...specOf(desired.spec) },
    incarnations: rows.map((row) => ({ ...resourceJson(row), ...specOf(row.spec) })),
  };
}

function print({ group, generation, desired, rows }: Found, id: string, withSpec: boolean, output: Output): void {
  output.fields({
    group: shownName(group),
    id: shownName(id),
    desired: desired === undefined ? "no" : `yes, in generation ${generation}`,
    "deletion cost": desired?.deletionCost?.toString(),
    spec: withSpec ? desired?.spec : undefined,
  });
  for (const row of rows.toReversed()) {
    const ago = (at: number | undefined) => (at === undefined ? undefined : `${durationText(row.readAt - at)} ago`);
    output.line();
    output.fields({
      incarnation: String(row.incarnation),
      state: `${row.state}, ${ago(row.stateChangedAt)}`,
      reason: named(row.reason),
      generation: row.generation === generation ? String(generation) : `${row.generation}, of ${generation} desired`,
      "external id": named(row.externalId),
      heartbeat: heartbeatText(row),
      lease: leaseText(row),
      attempt: String(row.attempt),
      "fencing token": String(row.fencingToken),
      version: String(row.version),
      created: ago(row.createdAt),
      provisioned: ago(row.provisionedAt),
      terminated: ago(row.terminatedAt),
      spec: withSpec ? row.spec : undefined,
    });
  }
  if (rows.length === 0) output.line("no incarnation of it is in the ledger");
}

function named(name: string | undefined): string | undefined {
  return name === undefined ? undefined : shownName(name);
}

function parsed(spec: string): unknown {
  try {
    return JSON.parse(spec);
  } catch {
    return spec;
  }
}
