import type { Division } from "../../src/coordination/divisions.ts";
import { RESOURCE_STATES } from "../../src/resources/resource-state.ts";
import { shownName } from "../../src/shown-text.ts";
import { cutText } from "./cut-text.ts";
import { durationText } from "./duration-text.ts";
import { changeText, type WatchChange } from "./watch-change.ts";
import type { GroupSnapshot } from "./watched-group.ts";
import type { LedgerSnapshot } from "./watched-ledger.ts";

/** What a frame shows. Times are epoch milliseconds. */
export interface FrameContent {
  readonly engine: string;
  readonly nowMs: number;
  readonly snapshot: LedgerSnapshot | undefined;
  /** When the snapshot was taken. */
  readonly seenAt: number | undefined;
  /** Why the ledger can't be seen at the moment. */
  readonly unknown: { readonly since: number; readonly why: string } | undefined;
  /** The newest first. */
  readonly changes: readonly WatchChange[];
}

export interface FrameSize {
  readonly columns: number;
  readonly rows: number;
}

/** So many lines of changes stay, where the groups would take all. */
const LEAST_CHANGES = 4;
const MOST_LEASES = 8;

/** A frame that fits a terminal of this size: the lines of a redrawn screen, without control characters. */
export function frameText(content: FrameContent, { columns, rows }: FrameSize): string {
  const room = Math.max(3, rows - 1);
  const head = headLines(content);
  const leases = leaseLines(content.snapshot);
  const changes = content.changes.map((change) => `  ${agoText(content.nowMs - change.at)}  ${changeText(change)}`);
  const changesTitle = changes.length === 0 ? [] : ["", "changes"];
  const kept = Math.min(changes.length, LEAST_CHANGES) + changesTitle.length;
  const groups = cutGroups(content.snapshot?.groups ?? [], content.nowMs, room - head.length - leases.length - kept);
  const left = room - head.length - groups.length - leases.length - changesTitle.length;
  const lines = [...head, ...groups, ...leases, ...changesTitle, ...changes.slice(0, Math.max(0, left))];
  return lines
    .slice(0, room)
    .map((line) => cutText(shownName(line), Math.max(10, columns - 1)))
    .join("\n");
}

function headLines({ engine, nowMs, snapshot, seenAt, unknown }: FrameContent): string[] {
  const count = snapshot?.groups.length ?? 0;
  const title = `evenkeel watch  ${engine}  ${count} ${count === 1 ? "group" : "groups"}`;
  if (unknown === undefined) return [title];
  const asOf =
    seenAt === undefined ? "nothing was seen yet" : `below is what it was ${durationText(nowMs - seenAt)} ago`;
  return [
    title,
    `UNKNOWN for ${durationText(nowMs - unknown.since)}: the ledger does not answer; ${asOf}`,
    `  ${unknown.why}`,
  ];
}

/** As many groups as there is room for, and how many there are besides. */
function cutGroups(groups: readonly GroupSnapshot[], nowMs: number, room: number): string[] {
  const lines: string[] = [];
  for (const [at, group] of groups.entries()) {
    const own = groupLines(group, nowMs);
    const needed = at === groups.length - 1 ? own.length : own.length + 1;
    if (at > 0 && lines.length + needed > room) {
      return [...lines, `… ${groups.length - at} more groups: say --group`];
    }
    lines.push(...own);
  }
  return lines;
}

function groupLines({ group, ...snapshot }: GroupSnapshot, nowMs: number): string[] {
  const { generation, observedGeneration, desired, observed, drift, conditions, unreadable } = snapshot;
  const live = RESOURCE_STATES.reduce((sum, state) => sum + (state === "TERMINATED" ? 0 : observed[state]), 0);
  const seen = generation === observedGeneration ? "" : `, seen ${observedGeneration}`;
  const converged = conditions.find(({ type }) => type === "Converged");
  const age = (since: number) => durationText(nowMs - since);
  const word =
    converged === undefined
      ? "no reconciler has spoken"
      : `${snapshot.converged ? "converged" : "not converged"}, ${converged.reason} for ${age(converged.since)}`;
  return [
    "",
    `${group}  ${unreadable === undefined ? word : `UNREADABLE: ${unreadable}`}`,
    `  desired   ${desired}  generation ${generation}${seen}`,
    `  observed  ${live}  ${RESOURCE_STATES.map((state) => `${state} ${observed[state]}`).join("  ")}`,
    `  drift     missing ${drift.missing}  surplus ${drift.surplus}  outdated ${drift.outdated}  silent ${drift.silent}`,
    ...conditions
      .filter(({ type, status }) => status && type !== "Converged")
      .map(({ type, reason, since }) => `  ${type}: ${reason} for ${age(since)}`),
  ];
}

function leaseLines(snapshot: LedgerSnapshot | undefined): string[] {
  const { elections = [], divisions = [] } = snapshot ?? {};
  const lines = [
    ...elections.map(({ name, holder, epoch, remainingMs, durationMs }) => {
      const left = `${durationText(remainingMs)} left of ${durationText(durationMs)}`;
      return `  ${name}  ${holder} leads, epoch ${epoch}, ${left}`;
    }),
    ...divisions.map(divisionLine),
  ];
  if (lines.length === 0) return [];
  const shown =
    lines.length > MOST_LEASES
      ? [...lines.slice(0, MOST_LEASES - 1), `  … ${lines.length - MOST_LEASES + 1} more`]
      : lines;
  return ["", "leases", ...shown];
}

function divisionLine({ name, members, left, counts, owners }: Division): string {
  const each = [
    ...members.map(({ id, holds }) => `${id} ${holds}`),
    ...left.map(({ id, holds }) => `${id} ${holds} (has left)`),
  ];
  return `  ${name}  ${owners.size} of ${counts.join(" or ")} shards held: ${each.join(", ")}`;
}

function agoText(ms: number): string {
  return (ms < 1_000 ? "now" : `${durationText(ms)} ago`).padStart(12);
}
