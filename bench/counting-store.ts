import type { LedgerStore } from "evenkeel";

/** A store that notes the name of each call of its resources. */
export function countingStore(store: LedgerStore): { readonly store: LedgerStore; readonly calls: string[] } {
  const calls: string[] = [];
  const resources = new Proxy(store.resources, {
    get(target, name, receiver) {
      const member: unknown = Reflect.get(target, name, receiver);
      if (typeof member !== "function") return member;
      return (...parameters: unknown[]): unknown => {
        calls.push(String(name));
        return member.apply(target, parameters);
      };
    },
  });
  return { store: { ...store, resources, close: () => store.close() }, calls };
}
