import type { LedgerStore } from "../../src/index.ts";

/** A store whose calls of executions are counted by name. */
export function countedStore(store: LedgerStore): {
  readonly store: LedgerStore;
  readonly calls: Record<string, number>;
} {
  const calls: Record<string, number> = {};
  const executions = new Proxy(store.executions, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        calls[String(name)] = (calls[String(name)] ?? 0) + 1;
        return value.apply(target, args);
      };
    },
  });
  return { store: { ...store, executions }, calls };
}
