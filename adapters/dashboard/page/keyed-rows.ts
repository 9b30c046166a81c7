import type { Part } from "./part.ts";

/**
 * Shows one part for each item, in the items' order. Parts are kept by the items' keys: an item that stays keeps its elements, which
 * are moved only where the order changed.
 */
export function keyedRows<T>(options: {
  readonly parent: HTMLElement;
  readonly keyOf: (item: T) => string;
  readonly create: () => Part<T>;
}): { show(items: readonly T[], now: number): void; tick(now: number): void } {
  const { parent, keyOf, create } = options;
  let rows = new Map<string, Part<T>>();
  return {
    show(items, now) {
      const kept = new Map<string, Part<T>>();
      for (const item of items) {
        const key = keyOf(item);
        kept.set(key, rows.get(key) ?? create());
      }
      // First those that are gone, so that those behind them need no move.
      for (const [key, row] of rows) if (!kept.has(key)) row.element.remove();
      rows = kept;
      let next = parent.firstElementChild;
      for (const item of items) {
        const row = kept.get(keyOf(item)) as Part<T>;
        row.show(item, now);
        if (row.element === next) next = next.nextElementSibling;
        else parent.insertBefore(row.element, next);
      }
    },
    tick(now) {
      for (const row of rows.values()) row.tick(now);
    },
  };
}
