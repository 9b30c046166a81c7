import type { Facts, RowSeen, Snapshot } from "./facts.ts";

/**
 * Signs of a write of a former leader, as far as a ledger tells: one that was made for the purpose and not fenced; a group whose epoch
 * went down, or is not that of who leads; a row that went back.
 */
export function staleWrites({
  probes,
  epochs,
  rows,
  settled,
}: Pick<Facts, "probes" | "epochs" | "rows" | "settled">): string[] {
  const wrong: string[] = [];
  for (const { group, what, epoch, seen, status } of probes)
    if (status !== "fenced") wrong.push(`${group}: ${what} under epoch ${epoch} is ${status}, after epoch ${seen}`);
  const highest = new Map<string, number>();
  for (const { group, epoch } of epochs) {
    if (epoch < (highest.get(group) ?? 0)) wrong.push(`${group}: from epoch ${highest.get(group)} back to ${epoch}`);
    highest.set(group, Math.max(epoch, highest.get(group) ?? 0));
  }
  return [...wrong, ...otherEpochs(settled), ...rowsThatWentBack(rows)];
}

/** Groups that don't stand under the epoch of who leads: a new leader makes it known with its first pass, also where it has nothing to do. */
export function otherEpochs({ leader, groups }: Snapshot): string[] {
  if (leader === undefined) return [];
  return groups
    .filter(({ epoch }) => epoch !== leader.epoch)
    .map(({ name, epoch }) => `${name} stands under epoch ${epoch}, and epoch ${leader.epoch} leads`);
}

/** What may follow a state within an incarnation. A look may miss what was between: each has all that can come later. */
const LATER: Readonly<Record<RowSeen["state"], readonly RowSeen["state"][]>> = {
  PENDING: ["PENDING", "PROVISIONED", "FAILED", "TERMINATING", "TERMINATED"],
  PROVISIONED: ["PROVISIONED", "FAILED", "TERMINATING", "TERMINATED"],
  FAILED: ["FAILED", "TERMINATING", "TERMINATED"],
  TERMINATING: ["TERMINATING", "TERMINATED"],
  TERMINATED: ["TERMINATED"],
};

function rowsThatWentBack(rows: readonly RowSeen[]): string[] {
  const wrong: string[] = [];
  const last = new Map<string, RowSeen>();
  for (const row of rows) {
    const which = `${row.group}/${row.id}#${row.incarnation}`;
    const before = last.get(which);
    last.set(which, row);
    if (before === undefined) continue;
    if (row.version < before.version) wrong.push(`${which}: from version ${before.version} back to ${row.version}`);
    if (row.fencingToken < before.fencingToken)
      wrong.push(`${which}: from fencing token ${before.fencingToken} back to ${row.fencingToken}`);
    if (!LATER[before.state].includes(row.state)) wrong.push(`${which}: from ${before.state} back to ${row.state}`);
    if (row.version === before.version && (row.state !== before.state || row.externalId !== before.externalId))
      wrong.push(`${which}: changed, and is version ${row.version} as before`);
  }
  return wrong;
}

/** Epochs that two copies led under, copies that went back to an earlier one, and copies that led on after a later one. */
export function splitLeaders({ leaders, beliefs }: Pick<Facts, "leaders" | "beliefs">): string[] {
  const wrong = new Set<string>();
  const identities = new Map<number, string>();
  const highest = new Map<string, number>();
  for (const { by, identity, epoch } of leaders) {
    const other = identities.get(epoch);
    if (other !== undefined && other !== identity) wrong.add(`epoch ${epoch} is led by ${other} and by ${identity}`);
    identities.set(epoch, other ?? identity);
    const before = highest.get(by) ?? 0;
    if (epoch < before) wrong.add(`${by} went from epoch ${before} back to ${epoch}`);
    highest.set(by, Math.max(before, epoch));
  }
  for (const { by, identity, epoch, newest } of beliefs) {
    const other = identities.get(epoch);
    if (other !== undefined && other !== identity)
      wrong.add(`epoch ${epoch} is led by ${other}, and ${by} leads it, too`);
    identities.set(epoch, other ?? identity);
    if (epoch < newest) wrong.add(`${by} still led under epoch ${epoch} when epoch ${newest} had come`);
  }
  return [...wrong];
}
