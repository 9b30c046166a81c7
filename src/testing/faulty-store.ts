import { systemClock } from "../clock.ts";
import { acceptOptions, invalidOptions } from "../option-rules.ts";
import type { LedgerStore } from "../store.ts";
import {
  FAULT_PLAN_RULES,
  type Fault,
  type FaultPlan,
  type FaultyCall,
  faultFor,
  STORE_OPERATIONS,
  type StoreOperationName,
} from "./fault-plan.ts";

type AnyOperation = (...args: unknown[]) => Promise<unknown>;

/**
 * A store behind a bad network: requests and replies are lost, late, doubled or silent, as the plan says. What a real engine
 * does now and then this one does on demand. With an empty plan it passes everything on, which counts calls.
 *
 * A loss rejects with a plain `Error`, as a driver does: it leaves open whether the operation was carried out. `watch` and
 * `completeInTransaction` pass without faults, except that a partition swallows the hints of `watch`. Closing it closes the
 * inner store.
 *
 * @throws EvenkeelError `INVALID_OPTIONS` for a plan with unknown names, or with rates and no `random`.
 * @example
 * ```ts
 * const store = faultyStore(memoryStore(), { faults: [{ on: "executions.claim", nth: 1, fault: "lostReply" }] });
 * const charge = withIdempotency(chargeCard, { store, operation: "charge" });
 * await charge(order, { key: "order-17" }); // claims again under the same nonce, and charges once
 * ```
 */
export function faultyStore(inner: LedgerStore, faults: FaultPlan): LedgerStore {
  acceptOptions("faultyStore", FAULT_PLAN_RULES, faults);
  if (faults.rates !== undefined && faults.random === undefined)
    throw invalidOptions("faultyStore", "rates need random");
  const { partition, clock = systemClock } = faults;
  const counts = new Map<StoreOperationName, number>();

  async function throughPartition<T>(send: () => Promise<T>): Promise<T> {
    if (partition === undefined) return send();
    if (!partition.requestsArrive) return never();
    try {
      return await send();
    } finally {
      if (!partition.repliesArrive) await never();
    }
  }

  async function suffer(fault: Fault | undefined, send: () => Promise<unknown>): Promise<unknown> {
    switch (fault) {
      case undefined:
        return send();
      case "lostRequest":
        throw connectionLost("before the store had the request");
      case "lostReply":
        await send().catch(() => {});
        throw connectionLost("before the store's answer arrived");
      case "hangBefore":
        return never();
      case "hangAfter":
        await send().catch(() => {});
        return never();
      case "duplicate":
        await send().catch(() => {});
        return send();
    }
    if ("duplicateAfterMs" in fault) {
      clock.setTimer(fault.duplicateAfterMs, () => void send().catch(() => {}));
      return send();
    }
    if (fault.of !== "reply") {
      await clock.sleep(fault.delayMs);
      return send();
    }
    try {
      return await send();
    } finally {
      await clock.sleep(fault.delayMs);
    }
  }

  function faulty<Part extends keyof typeof STORE_OPERATIONS>(part: Part): LedgerStore[Part] {
    const operations = inner[part] as unknown as Record<string, AnyOperation>;
    const wrapped = STORE_OPERATIONS[part].map((name): [string, AnyOperation] => {
      const operation = `${part}.${name}` as StoreOperationName;
      const asked: AnyOperation = async (...args) => {
        const nth = (counts.get(operation) ?? 0) + 1;
        counts.set(operation, nth);
        const call: FaultyCall = { operation, nth, request: args[0] };
        faults.onCall?.(call);
        const send = async (): Promise<unknown> => operations[name]?.(...args);
        return throughPartition(() => suffer(faultFor(faults, call), send));
      };
      return [name, asked];
    });
    return Object.fromEntries(wrapped) as unknown as LedgerStore[Part];
  }

  const { watch, completeInTransaction } = inner.executions;
  return {
    executions: {
      ...faulty("executions"),
      ...(watch === undefined
        ? {}
        : {
            watch: (id, wake) =>
              watch.call(inner.executions, id, () => {
                if (partition?.repliesArrive ?? true) wake();
              }),
          }),
      ...(completeInTransaction === undefined
        ? {}
        : { completeInTransaction: (request, tx) => completeInTransaction.call(inner.executions, request, tx) }),
    },
    resources: faulty("resources"),
    leases: faulty("leases"),
    close: () => inner.close(),
  };
}

function connectionLost(when: string): Error {
  return Object.assign(new Error(`The connection was lost ${when}.`), { code: "ECONNRESET" });
}

function never(): Promise<never> {
  return new Promise(() => {});
}
