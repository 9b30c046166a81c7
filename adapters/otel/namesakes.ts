import type { MetricSample } from "../../src/metric-sample.ts";

/** `Reconciler.metrics()` of one of them. */
export type ReadMetrics = () => MetricSample[];

/** Which of the reconcilers of one name is asked: the newest that was not stopped. */
export interface Namesakes {
  /** There is one more, or one that was stopped works again. */
  came(name: string, read: ReadMetrics): void;
  /**
   * It was stopped. The one before it is asked again; where there is none, what it said last is said from now on: SDKs go on exporting
   * what is observed no more, with the value that it had.
   */
  stopped(name: string, read: ReadMetrics): void;
  /** Those to be asked now, one a name. */
  asked(): ReadMetrics[];
}

/** Knows reconcilers by their names. It holds on to none that was stopped. */
export function namesakes(): Namesakes {
  const newest = new Map<string, ReadMetrics>();
  const last = new Map<string, ReadMetrics>();
  /** Weakly, because nobody has to stop one that was never started. */
  const older = new Map<string, WeakRef<ReadMetrics>[]>();

  function olderThan(name: string, read: ReadMetrics): WeakRef<ReadMetrics>[] {
    return (older.get(name) ?? []).filter((one) => ![read, undefined].includes(one.deref()));
  }

  return {
    came(name, read) {
      const others = olderThan(name, read);
      const before = newest.get(name);
      if (before !== undefined && before !== read) others.push(new WeakRef(before));
      older.set(name, others);
      newest.set(name, read);
      last.delete(name);
    },
    stopped(name, read) {
      const others = olderThan(name, read);
      older.set(name, others);
      if (newest.get(name) !== read) return;
      const before = others.pop()?.deref();
      if (before !== undefined) newest.set(name, before);
      else {
        const samples = read();
        newest.delete(name);
        last.set(name, () => samples);
      }
    },
    asked: () => [...newest.values(), ...last.values()],
  };
}
