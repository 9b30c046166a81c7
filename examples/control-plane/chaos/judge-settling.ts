import type { CopySnapshot, GroupSnapshot, Snapshot, WorkerLine, WorkerProcess } from "./facts.ts";

/**
 * What beat this short ago, in milliseconds, will not be replaced while one looks once more. A worker beats five times as often; one that
 * was frozen until just now has not yet.
 */
export const FRESH_MS = 2_500;

/** Ids by the names of their groups. */
export type Expected = ReadonlyMap<string, readonly string[]>;

/**
 * What keeps a control plane from being settled: the ledger, the `/state` of every copy, and the list of processes have to tell of the
 * same resources, and of those that are expected.
 */
export function unsettled({ leader, groups, copies, processes }: Snapshot, expected: Expected): string[] {
  const wrong: string[] = [];
  if (leader === undefined) wrong.push("nobody leads");
  for (const [name, ids] of expected) {
    const group = groups.find((candidate) => candidate.name === name);
    if (group === undefined) {
      wrong.push(`the ledger has no group ${name}`);
      continue;
    }
    wrong.push(...difference(`${name}: desired by the ledger`, group.desired, ids));
    const rows = group.rows.map(({ id, incarnation }) => `${id}#${incarnation}`);
    wrong.push(
      ...difference(
        `${name}: rows of the ledger`,
        group.rows.map(({ id }) => id),
        ids,
      ),
    );
    for (const { id, incarnation, state, silentMs } of group.rows) {
      if (state !== "PROVISIONED") wrong.push(`${name}: ${id}#${incarnation} is ${state}`);
      if (silentMs === undefined) wrong.push(`${name}: ${id}#${incarnation} has never beaten`);
      else if (silentMs > FRESH_MS) wrong.push(`${name}: ${id}#${incarnation} was last heard of ${silentMs} ms ago`);
    }
    wrong.push(...differentProcesses(group, rows, processes));
    for (const copy of copies) wrong.push(...differentState(copy, group, rows, leader));
  }
  for (const { group, id, incarnation } of processes)
    if (!expected.has(group)) wrong.push(`${id}#${incarnation} runs, of a group ${group} that nobody has asked for`);
  return wrong;
}

function differentProcesses(group: GroupSnapshot, rows: string[], processes: readonly WorkerProcess[]): string[] {
  const ours = processes.filter((process) => process.group === group.name);
  const wrong = difference(
    `${group.name}: processes`,
    ours.map(({ id, incarnation }) => `${id}#${incarnation}`),
    rows,
  );
  for (const { id, incarnation, externalId } of group.rows) {
    const pids = ours.filter((process) => process.id === id && process.incarnation === incarnation);
    if (pids.length === 1 && externalId !== undefined && externalId !== String(pids[0]?.pid))
      wrong.push(`${group.name}: ${id}#${incarnation} is process ${pids[0]?.pid}, and ${externalId} by the ledger`);
  }
  return wrong;
}

function differentState(
  { name, state }: CopySnapshot,
  group: GroupSnapshot,
  rows: readonly string[],
  leader: Snapshot["leader"],
): string[] {
  if (state === undefined) return [`${name} does not answer`];
  const told = state.groups.find((candidate) => candidate.name === group.name);
  if (told === undefined) return [`${name} tells nothing of ${group.name}`];
  const wrong: string[] = [];
  const live = told.resources.filter((resource) => resource.state !== "TERMINATED");
  wrong.push(
    ...difference(
      `${group.name}: by ${name}`,
      live.map(({ id, incarnation }) => `${id}#${incarnation}`),
      rows,
    ),
  );
  if (!told.converged) wrong.push(`${group.name}: not converged by ${name}`);
  if (told.generation !== group.generation || told.observedGeneration !== group.generation)
    wrong.push(
      `${group.name}: generation ${group.generation}, by ${name} ${told.generation}, observed ${told.observedGeneration}`,
    );
  if (told.desired !== group.desired.length)
    wrong.push(`${group.name}: ${told.desired} desired by ${name}, and not ${group.desired.length}`);
  if (leader !== undefined && (state.leader?.identity !== leader.identity || state.leader.epoch !== leader.epoch))
    wrong.push(`${name} takes ${state.leader?.identity ?? "nobody"} for the leader, and not ${leader.identity}`);
  return wrong;
}

/** What was done although there was nothing to do: resources that were written, made or ended between two snapshots. */
export function restlessness(before: Snapshot, after: Snapshot, lines: readonly WorkerLine[]): string[] {
  const wrong: string[] = [];
  const rowsOf = ({ groups }: Snapshot) =>
    groups.flatMap(({ rows }) =>
      rows.map(({ group, id, incarnation, state, version }) => `${group} ${id}#${incarnation} ${state} v${version}`),
    );
  const processesOf = ({ processes }: Snapshot) =>
    processes.map(({ group, id, incarnation, pid }) => `${group} ${id}#${incarnation} process ${pid}`);
  wrong.push(...difference("rows", rowsOf(after), rowsOf(before)));
  wrong.push(...difference("processes", processesOf(after), processesOf(before)));
  for (const { name, generation } of after.groups) {
    const earlier = before.groups.find((group) => group.name === name);
    if (earlier?.generation !== generation)
      wrong.push(`${name}: from generation ${earlier?.generation} to ${generation}`);
  }
  for (const { event, id, incarnation, atMs } of lines)
    if (atMs > before.at && atMs <= after.at) wrong.push(`${id}#${incarnation} has ${event} meanwhile`);
  return wrong;
}

/** What one list has and the other one not, also where it has it more often. */
function difference(what: string, found: readonly string[], wanted: readonly string[]): string[] {
  const left = [...found];
  const missing = wanted.filter((item) => {
    const at = left.indexOf(item);
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
  return [
    ...(missing.length === 0 ? [] : [`${what}: missing ${some(missing)}`]),
    ...(left.length === 0 ? [] : [`${what}: too many ${some(left)}`]),
  ];
}

function some(items: readonly string[]): string {
  return items.length > 5 ? `${items.slice(0, 5).join(", ")} and ${items.length - 5} more` : items.join(", ");
}
