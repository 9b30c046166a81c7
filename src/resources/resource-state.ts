import { EvenkeelError } from "../errors.ts";
import type { ResourceState } from "../store.ts";

/**
 * What a resource may become, by what it is. Nothing leads back: a resource that is needed again is the next incarnation.
 *
 * - `PENDING`: it is being created, or nobody knows whether it was. Terminated at once where it was never made.
 * - `PROVISIONED`: it exists. Terminated at once where it is found to be gone.
 * - `FAILED`: it fell silent, and is to be ended.
 * - `TERMINATING`: it is being ended, and that is not taken back.
 * - `TERMINATED`: it is gone; the row is a tombstone.
 */
export const TRANSITIONS: Readonly<Record<ResourceState, readonly ResourceState[]>> = Object.freeze({
  PENDING: ["PROVISIONED", "TERMINATING", "TERMINATED"],
  PROVISIONED: ["FAILED", "TERMINATING", "TERMINATED"],
  FAILED: ["TERMINATING", "TERMINATED"],
  TERMINATING: ["TERMINATED"],
  TERMINATED: [],
});

/** All states, in the order of a resource's life. */
export const RESOURCE_STATES = Object.freeze(Object.keys(TRANSITIONS)) as readonly ResourceState[];

/** What a row may begin as: about to be created, or found to exist already, or found to have been there before that. */
const FIRST: readonly ResourceState[] = ["PENDING", "PROVISIONED", "TERMINATED"];

/** Whether a value is the name of a state. */
export function isResourceState(value: unknown): value is ResourceState {
  return typeof value === "string" && Object.hasOwn(TRANSITIONS, value);
}

/**
 * Holds a change of state against {@link TRANSITIONS}. Staying what it is is legal: leases are renewed and actions repeated.
 * @param from - `undefined` for a row that is made.
 * @throws EvenkeelError `ILLEGAL_TRANSITION`, naming both states.
 */
export function assertTransition(from: ResourceState | undefined, to: ResourceState): void {
  if (from === undefined) {
    if (FIRST.includes(to)) return;
    throw new EvenkeelError("ILLEGAL_TRANSITION", `A resource can't begin as ${to}.`);
  }
  if (from === to || TRANSITIONS[from].includes(to)) return;
  throw new EvenkeelError("ILLEGAL_TRANSITION", `A resource can't go from ${from} to ${to}.`);
}
