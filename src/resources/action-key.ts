import { digest } from "../digest.ts";

/** The first part of every key, so that a later way to make keys can't meet one of this way. */
const VERSION = "evenkeel.action.1";

interface Target {
  readonly group: string;
  readonly id: string;
  readonly incarnation: number;
}

/** An action on one incarnation of a resource, as far as its key depends on it. */
export type KeyedAction = Target &
  (
    | { readonly action: "create" }
    | {
        readonly action: "terminate" | "forceTerminate";
        /** Of a resource that no row is kept of: its incarnation alone may not tell it apart. */
        readonly externalId?: string | undefined;
      }
    | {
        readonly action: "update";
        /** The generation that the row has during it: a change to b, back to a and to b again is three updates. */
        readonly generation: number;
        /** The text that the spec becomes. */
        readonly spec?: string | undefined;
      }
  );

/**
 * The idempotency key of an action: 64 hex digits, the same on every attempt and in every process, and of no other action.
 */
export function actionKey(action: KeyedAction): string {
  return digest(VERSION, action.group, action.id, String(action.incarnation), action.action, ...details(action));
}

function details(action: KeyedAction): readonly string[] {
  switch (action.action) {
    case "create":
      return [];
    case "update":
      return [String(action.generation), ...optional(action.spec)];
    default:
      return optional(action.externalId);
  }
}

function optional(part: string | undefined): readonly string[] {
  return part === undefined ? [] : [part];
}
