import { memoryStore } from "evenkeel/memory";
import type { ManualClock } from "evenkeel/testing";
import type { LedgerStore } from "../../src/store.ts";

type Operation = (request: object, ...rest: unknown[]) => Promise<unknown>;
type Operations = Readonly<Record<string, Operation>>;

const TAKING_REQUESTS = {
  executions: ["claim", "renew", "complete", "release", "recordStep", "seize", "recent"],
  leases: ["acquire", "renew", "release"],
  resources: ["apply", "setDesired", "heartbeat", "list", "changedSince", "staleBefore", "purge", "listGroups"],
} as const;

/** The reference store, which gets to a request only after the call has returned. */
function late(
  clock: ManualClock,
  part: keyof typeof TAKING_REQUESTS,
  names: readonly string[],
  keep: (request: object) => object,
): LedgerStore {
  const store = memoryStore({ clock });
  const operations = store[part] as unknown as Operations;
  const changed = names.map((name): [string, Operation] => [
    name,
    async (request, ...rest) => {
      const kept = keep(request);
      await Promise.resolve();
      return operations[name]?.(kept, ...rest);
    },
  ]);
  return { ...store, [part]: { ...operations, ...Object.fromEntries(changed) } };
}

/** One store for each operation, which reads there what the caller has made of the request meanwhile. */
export const lateStores: readonly (readonly [string, (clock: ManualClock) => LedgerStore])[] = Object.entries(
  TAKING_REQUESTS,
).flatMap(([part, names]) =>
  names.map(
    (name) =>
      [`${part}.${name}`, (clock) => late(clock, part as keyof typeof TAKING_REQUESTS, [name], (own) => own)] as const,
  ),
);

/** Stores that are as late, and took a copy in time. */
export const copyingStores: readonly (readonly [string, (clock: ManualClock) => LedgerStore])[] = Object.entries(
  TAKING_REQUESTS,
).map(
  ([part, names]) =>
    [part, (clock) => late(clock, part as keyof typeof TAKING_REQUESTS, names, structuredClone)] as const,
);
