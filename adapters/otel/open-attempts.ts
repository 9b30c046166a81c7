import type { AttemptIdentity } from "./attempt-end.ts";

/** More attempts at once than a process has; those that nothing ends, because nothing is told of them any more, are let go of by it. */
const MOST_OPEN = 10_000;

/** What is known of attempts that have begun and not ended. Of too many the oldest is forgotten. */
export interface OpenAttempts<T> {
  get(attempt: AttemptIdentity): T | undefined;
  begin(attempt: AttemptIdentity, value: T): void;
  /** What was known of it, which is forgotten. */
  end(attempt: AttemptIdentity): T | undefined;
}

/** @param onForgotten - is given what nobody will end any more. */
export function openAttempts<T>(onForgotten: (value: T) => void = () => {}, most = MOST_OPEN): OpenAttempts<T> {
  const open = new Map<AttemptIdentity, T>();

  function end(attempt: AttemptIdentity): T | undefined {
    const value = open.get(attempt);
    open.delete(attempt);
    return value;
  }

  function forget(attempt: AttemptIdentity): void {
    const value = end(attempt);
    if (value !== undefined) onForgotten(value);
  }

  return {
    get: (attempt) => open.get(attempt),
    end,
    begin(attempt, value) {
      // One that looks the same, as where listeners are given copies without the identity.
      forget(attempt);
      open.set(attempt, value);
      const [oldest] = open.keys();
      if (open.size > most && oldest !== undefined) forget(oldest);
    },
  };
}
