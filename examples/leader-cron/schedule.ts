import { setTimeout as sleep } from "node:timers/promises";

export interface ScheduleOptions {
  /** When the job was set up, in epoch milliseconds: no slot is before that. */
  readonly since: number;
  readonly everyMs: number;
  /** How far back a new leader looks for slots that nobody has run. */
  readonly lookBackMs: number;
  readonly signal: AbortSignal;
}

/**
 * The slots of a job, in order, each when it is due; those that may have been missed first. A slot is known by its time, so that all
 * nodes know it by the same name.
 *
 * @throws AbortError once the signal aborts.
 */
export async function* slots({ since, everyMs, lookBackMs, signal }: ScheduleOptions): AsyncGenerator<string> {
  const from = Math.max(since, Date.now() - lookBackMs);
  for (let at = Math.ceil(from / everyMs) * everyMs; ; at += everyMs) {
    await sleep(Math.max(0, at - Date.now()), undefined, { signal });
    yield new Date(at).toISOString();
  }
}
