import { randomUUID } from "node:crypto";
import type { LedgerStore } from "evenkeel";
import type { ProbeFacts } from "./facts.ts";
import { CALL } from "./snapshot.ts";

export interface Probe {
  readonly group: string;
  /** The highest epoch that the group has seen. */
  readonly seen: number;
  /** Lower ones, of former leaders. */
  readonly epochs: readonly number[];
}

/**
 * Writes what a former leader would: a row as it is, and the desired set as it is, under epochs that are over. Were it accepted, it would
 * do no harm but be seen.
 */
export async function probeStaleWrites(store: LedgerStore, { group, seen, epochs }: Probe): Promise<ProbeFacts[]> {
  const { resources } = store;
  const facts: ProbeFacts[] = [];
  for (const epoch of epochs) {
    const [row] = await resources.list({ group, limit: 1, states: ["PROVISIONED"] }, CALL);
    if (row !== undefined) {
      const { id, incarnation, state, spec, externalId, generation, reason, attempt } = row;
      const optional = Object.entries({ spec, externalId, reason }).filter(([, value]) => value !== undefined);
      const write = {
        ...({ kind: "update", id, incarnation, expectedVersion: row.version, nonce: randomUUID() } as const),
        ...{ state, generation, attempt, ...Object.fromEntries(optional) },
      };
      const { status } = await resources.apply({ group, epoch, writes: [write] }, CALL);
      facts.push({ group, what: "apply", epoch, seen, status });
    }
    const { desired } = await resources.getDesired(group, CALL);
    if (desired === undefined) continue;
    const { status } = await resources.setDesired({ group, epoch, nonce: randomUUID(), desired }, CALL);
    facts.push({ group, what: "setDesired", epoch, seen, status });
  }
  return facts;
}
