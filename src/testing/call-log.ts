import type { FaultyCall, StoreOperationName } from "./fault-plan.ts";

/**
 * The store calls that were made, to hold round trips to their budget.
 *
 * @example
 * ```ts
 * const log = new CallLog();
 * const store = faultyStore(memoryStore(), { onCall: log.onCall });
 * await withIdempotency(chargeCard, { store, operation: "charge" })(order, { key: "order-17" });
 * assert.deepEqual(log.operations, ["executions.claim", "executions.complete"]);
 * ```
 */
export class CallLog {
  readonly #calls: FaultyCall[] = [];

  /** For {@link FaultPlan.onCall}; needs no `this`. */
  readonly onCall = (call: FaultyCall): void => {
    this.#calls.push(call);
  };

  /** How many calls there were. */
  get total(): number {
    return this.#calls.length;
  }

  /** The calls in their order. */
  get calls(): readonly FaultyCall[] {
    return [...this.#calls];
  }

  /** The names of the operations in the order of the calls. */
  get operations(): readonly StoreOperationName[] {
    return this.#calls.map(({ operation }) => operation);
  }

  /** How many calls of this operation there were. */
  count(operation: StoreOperationName): number {
    return this.#calls.filter((call) => call.operation === operation).length;
  }

  /** Forgets all calls. */
  clear(): void {
    this.#calls.length = 0;
  }
}
