/** More attempts at once than a process has; those that nothing ends, because nothing is told of them any more, are let go of by it. */
const MOST_OPEN = 10_000;

/** What is known of attempts that have begun and not ended. Of too many the oldest is forgotten. */
export interface OpenAttempts<T> {
  get(attempt: string): T | undefined;
  begin(attempt: string, value: T): void;
  /** What was known of it, which is forgotten. */
  end(attempt: string): T | undefined;
}

/** @param onForgotten - is given what nobody will end any more. */
export function openAttempts<T>(onForgotten: (value: T) => void = () => {}, most = MOST_OPEN): OpenAttempts<T> {
  const open = new Map<string, T>();

  function end(attempt: string): T | undefined {
    const value = open.get(attempt);
    open.delete(attempt);
    return value;
  }

  function forget(attempt: string): void {
    const value = end(attempt);
    if (value !== undefined) onForgotten(value);
  }

  return {
    get: (attempt) => open.get(attempt),
    end,
    begin(attempt, value) {
      // Of the same name in another ledger.
      forget(attempt);
      open.set(attempt, value);
      const [oldest] = open.keys();
      if (open.size > most && oldest !== undefined) forget(oldest);
    },
  };
}
