import { EvenkeelError, isEvenkeelError } from "../errors.ts";
import { acceptOptions, type OptionRules, rules } from "../option-rules.ts";
import type { LedgerStore } from "../store.ts";
import { acceptEngine, checkedTransaction, momentOf } from "./engine-checks.ts";
import type { KeyedEngine } from "./keyed-engine.ts";
import { type InStep, keyedExecutions } from "./keyed-executions.ts";
import { keyedLeases } from "./keyed-leases.ts";
import { keyedResources } from "./keyed-resources.ts";
import { KeyedStep } from "./keyed-step.ts";

export interface KeyedStoreOptions {
  /** Whether the user's own key is kept beside its digest, for people to look up. Defaults to true. */
  readonly storeKeys?: boolean;
}

const OPTIONS: OptionRules = { storeKeys: rules.flag };

/**
 * A whole ledger over an engine that can do one thing: an atomic step over texts by key. All of the protocol is here; what the
 * engine has to bring is atomicity, durability and a clock.
 *
 * For ledgers that fit into one step: lists, `staleBefore` and `purge` look at all records of their kind. It has no `watch` and
 * no `completeInTransaction`; add them to what it returns where the engine has them.
 *
 * @throws EvenkeelError `INVALID_OPTIONS`; from the store's operations `STORE_MISCONFIGURED`, where the engine answers what its
 * types rule out.
 * @example
 * ```ts
 * const texts = new Map<string, string>();
 * const store = keyedStore({
 *   name: "mapStore",
 *   now: () => Date.now(),
 *   transact: async (work) => work({
 *     get: (key) => texts.get(key),
 *     set: (key, text) => texts.set(key, text),
 *     delete: (key) => texts.delete(key),
 *     keys: (prefix) => [...texts.keys()].filter((key) => key.startsWith(prefix)),
 *   }),
 * });
 * ```
 */
export function keyedStore(engine: KeyedEngine, options: KeyedStoreOptions = {}): LedgerStore {
  acceptEngine("keyedStore", engine);
  acceptOptions("keyedStore", OPTIONS, options);
  let closed: Promise<void> | undefined;

  const inStep: InStep = async (call, work) => {
    if (closed !== undefined) throw new EvenkeelError("STORE_UNAVAILABLE", `${engine.name} is closed.`);
    try {
      return await engine.transact((tx) => {
        return work(new KeyedStep(checkedTransaction(engine, tx), momentOf(engine)));
      }, call);
    } catch (cause) {
      if (isEvenkeelError(cause)) throw cause;
      throw new EvenkeelError("STORE_UNAVAILABLE", `${engine.name} failed.`, { cause });
    }
  };

  return {
    executions: keyedExecutions(inStep, options.storeKeys ?? true),
    leases: keyedLeases(inStep),
    resources: keyedResources(inStep),
    close() {
      closed ??= engine.close?.() ?? Promise.resolve();
      return closed;
    },
  };
}
