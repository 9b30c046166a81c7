import type { Clock } from "../clock.ts";
import type { LeaseStore } from "../store.ts";
import { mayHaveHappened } from "../store-operation.ts";

/** A store that has answered nothing for so long, in milliseconds, */
const SILENT_MS = 500;
/** is left alone for so long after each failure. */
const PAUSE_MS = 50;

/** What is asked of leases that many are held of. */
export type SparedLeases = Pick<LeaseStore, "acquire" | "renew" | "release" | "list">;

/**
 * A store's leases for whoever holds hundreds of them, each of which is asked for again and again until the store answers: where nothing is
 * answered any more, calls that follow on a failure fail alike for a moment, without being sent, so that a store that is down is not
 * stormed. Where some calls are answered, all are sent: what fails for one lease must not cost another.
 */
export function sparedLeases(leases: SparedLeases, clock: Clock): SparedLeases {
  let answeredAt = Number.NEGATIVE_INFINITY;
  let failed: { readonly error: unknown; readonly at: number } | undefined;

  async function spared<T>(send: () => Promise<T>): Promise<T> {
    const now = clock.monotonic();
    if (failed !== undefined && now < failed.at + PAUSE_MS && now >= answeredAt + SILENT_MS) throw failed.error;
    try {
      const answer = await send();
      answeredAt = clock.monotonic();
      return answer;
    } catch (error) {
      if (mayHaveHappened(error)) failed = { error, at: clock.monotonic() };
      else answeredAt = clock.monotonic();
      throw error;
    }
  }

  return {
    acquire: (request, call) => spared(() => leases.acquire(request, call)),
    renew: (request, call) => spared(() => leases.renew(request, call)),
    release: (request, call) => spared(() => leases.release(request, call)),
    list: (prefix, call) => spared(() => leases.list(prefix, call)),
  };
}
