import { AsyncLocalStorage } from "node:async_hooks";
import type { LedgerStore } from "../store.ts";

/** A record that is being executed around the present code. */
interface Frame {
  readonly store: LedgerStore;
  readonly id: string;
  readonly outer: Frame | undefined;
  active: boolean;
}

const frames = new AsyncLocalStorage<Frame>();

/** Runs `work` as the inside of an execution of this record. */
export async function enter<T>(store: LedgerStore, id: string, work: () => T | Promise<T>): Promise<T> {
  const frame: Frame = { store, id, outer: innermost(), active: true };
  try {
    return await frames.run(frame, work);
  } finally {
    // What the function left running may ask for the record again: it is no longer inside.
    frame.active = false;
  }
}

/** Whether the present code stands inside an execution of this record, and would wait for itself. */
export function isInside(store: LedgerStore, id: string): boolean {
  for (let frame = innermost(); frame !== undefined; frame = frame.outer) {
    if (frame.active && frame.store === store && frame.id === id) return true;
  }
  return false;
}

/** The innermost execution that still runs. Those that are over are let go: a worker that starts its next run has many. */
function innermost(): Frame | undefined {
  let frame = frames.getStore();
  while (frame !== undefined && !frame.active) frame = frame.outer;
  return frame;
}
