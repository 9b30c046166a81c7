import type { LedgerStore, ResourceRow } from "../../src/index.ts";
import { TRANSITIONS } from "../../src/resources/resource-state.ts";
import type { ApplyRequest } from "../../src/store.ts";

const CALL = { timeoutMs: 1_000 };

/** Behind all faults: what the engine itself did. */
export interface Witness {
  /** The store as one process reaches it. */
  of(process: string): LedgerStore;
  /** Rows as they are at the moment of the call. */
  rows(): Promise<ResourceRow[]>;
  /** How many writes changed a row. */
  readonly changes: number;
  readonly violations: string[];
  /** What happened, for comparing two runs. */
  readonly trace: string[];
  violation(what: string): void;
}

/**
 * Watches the truth that the invariants speak of. Violations are noted and not thrown: the core would take a thrown one for a failure of
 * the store.
 */
export function witnessed(store: LedgerStore, group: string): Witness {
  const violations: string[] = [];
  const trace: string[] = [];
  /** Who was granted the lease that a row has. */
  const holders = new Map<string, string>();
  let turn: Promise<unknown> = Promise.resolve();
  let changes = 0;

  const rows = (): Promise<ResourceRow[]> => store.resources.list({ group, limit: 1_000 }, CALL);
  const violation = (what: string): void => {
    violations.push(what);
    trace.push(`VIOLATION ${what}`);
  };

  function onChange(process: string, { writes }: ApplyRequest, known: readonly ResourceRow[], after: ResourceRow) {
    const before = known.find(({ id, incarnation }) => id === after.id && incarnation === after.incarnation);
    const name = `${after.id}/${after.incarnation}`;
    changes += 1;
    trace.push(`${after.readAt} ${process}: ${name} ${before?.state ?? "none"} -> ${after.state} #${after.version}`);
    const asked = writes.filter(({ id }) => id === after.id);
    const isMeant = asked.some((write) =>
      write.kind === "create"
        ? before === undefined && write.after < after.incarnation
        : write.incarnation === after.incarnation && write.expectedVersion === before?.version,
    );
    if (!isMeant) violation(`a writer changed ${name} that had not read it as it was`);
    if (before !== undefined && after.version !== before.version + 1) violation(`${name} skipped a version`);
    if (before !== undefined && before.state !== after.state && !TRANSITIONS[before.state].includes(after.state))
      violation(`${name} went from ${before.state} to ${after.state}`);
    const isHeld = before?.leaseExpiresAt !== undefined && before.leaseExpiresAt > after.readAt;
    // What was seen to be gone, or fell silent, is so whoever acts on it.
    const isFinding = before?.state !== "PENDING" && (after.state === "TERMINATED" || after.state === "FAILED");
    if (isHeld && !isFinding && holders.get(name) !== process)
      violation(`${process} changed ${name} while another held it`);
    if (after.fencingToken !== (before?.fencingToken ?? 0) && after.leaseExpiresAt !== undefined) {
      if (after.fencingToken <= highestToken(known)) violation(`the fencing token of ${name} did not rise`);
      holders.set(name, process);
    }
  }

  async function apply(process: string, request: ApplyRequest): Promise<unknown> {
    const before = await rows();
    const result = await store.resources.apply(request, CALL);
    const known = new Map(before.map((row) => [`${row.id}/${row.incarnation}`, row]));
    for (const row of await rows()) {
      const earlier = known.get(`${row.id}/${row.incarnation}`);
      if (earlier?.version !== row.version) onChange(process, request, before, row);
    }
    return result;
  }

  return {
    rows,
    violations,
    trace,
    violation,
    get changes() {
      return changes;
    },
    of(process) {
      const resources = {
        ...store.resources,
        apply(request: ApplyRequest) {
          // One at a time, so that what changed is what this one changed.
          const applied = turn.then(() => apply(process, request));
          turn = applied.catch(() => {});
          return applied;
        },
      };
      return { ...store, resources: resources as unknown as LedgerStore["resources"] };
    },
  };
}

function highestToken(rows: readonly ResourceRow[]): number {
  return rows.reduce((highest, { fencingToken }) => Math.max(highest, fencingToken), 0);
}
