import { onAbort } from "../abort-listeners.ts";
import { type Clock, Stopwatch, type Timer } from "../clock.ts";
import { EvenkeelError, isEvenkeelError } from "../errors.ts";
import type { ResourceRow } from "../store.ts";
import type { RowWriter } from "./row-writer.ts";

/** An end that is waited for, because what a call did until then is worth knowing. */
export interface Stop {
  readonly signal: AbortSignal;
  /** Milliseconds for which an answer is waited for after the signal. */
  readonly graceMs: number;
}

export interface LeasedCall<T> {
  readonly writer: RowWriter;
  /** As the write answered it that granted the lease. */
  readonly row: ResourceRow;
  /** Milliseconds, as granted. */
  readonly leaseMs: number;
  /** Started before that write was sent. Defaults to now. */
  readonly grantedSince?: Stopwatch;
  /** Milliseconds after which nobody waits any more. Defaults to for ever. */
  readonly timeoutMs?: number;
  readonly clock: Clock;
  /** Ends the waiting at once. */
  readonly signal?: AbortSignal | undefined;
  /** Ends it once the call, which is told, has had some time to answer. Defaults to never. */
  readonly stop?: Stop | undefined;
  /** Asked before each renewal; `false`, or a throw: the row is somebody else's. Defaults to always. */
  readonly gate?: () => boolean;
  readonly call: (signal: AbortSignal) => T | PromiseLike<T>;
}

/**
 * How a call ended. `row` is what the ledger last said of it, and may be older than a renewal whose answer was lost: write over
 * it with `updateHeld`.
 *
 * - `timedOut`, `aborted`: the call was given up; whether it did anything is unknown. The lease is still ours.
 * - `lost`: so it was, because the lease is gone, or can't be shown to be ours. `error` is why it can't, `found` what stands
 *   there instead, `fencedBy` the higher epoch of another writer.
 */
export type LeasedCallResult<T> =
  | { readonly status: "returned"; readonly value: T; readonly row: ResourceRow }
  | { readonly status: "threw"; readonly error: unknown; readonly row: ResourceRow }
  | { readonly status: "timedOut"; readonly error: unknown; readonly row: ResourceRow }
  | { readonly status: "aborted"; readonly error: unknown; readonly row: ResourceRow }
  | { readonly status: "lost"; readonly error?: unknown; readonly found?: ResourceRow; readonly fencedBy?: number };

/**
 * Runs `call` while its row's lease is renewed every third of it. The holder's own deadline is never later than the store's,
 * because it counts from before a renewal was sent, by the clock that went further. Never rejects; what the call does after
 * it was given up is nobody's business, and its signal says so.
 */
export function callUnderLease<T>(terms: LeasedCall<T>): Promise<LeasedCallResult<T>> {
  return new Promise((resolve) => new RunningCall(terms, resolve).run());
}

class RunningCall<T> {
  readonly #terms: LeasedCall<T>;
  readonly #resolve: (result: LeasedCallResult<T>) => void;
  readonly #controller = new AbortController();
  #row: ResourceRow;
  /** Since before the lease was last granted or renewed. */
  #since: Stopwatch;
  /** The next renewal; while one is under way, the deadline. */
  #timer: Timer | undefined;
  #timeout: Timer | undefined;
  /** After a stop. */
  #grace: Timer | undefined;
  #stopListening: () => void = () => {};
  #renewing = false;
  /** The call is over, and waits for the renewal that is under way: the row's next version depends on it. */
  #ended: ((row: ResourceRow) => LeasedCallResult<T>) | undefined;
  #settled = false;
  #lastError: unknown;

  constructor(terms: LeasedCall<T>, resolve: (result: LeasedCallResult<T>) => void) {
    this.#terms = terms;
    this.#resolve = resolve;
    this.#row = terms.row;
    this.#since = terms.grantedSince ?? new Stopwatch(terms.clock);
  }

  run(): void {
    const { clock, signal, stop, timeoutMs, call } = this.#terms;
    for (const end of [signal, stop?.signal]) if (end?.aborted) return this.#abort(end.reason);
    if (this.#leftMs() <= 0) return this.#lose();
    const stops = [
      onAbort(signal, () => this.#abort(signal?.reason)),
      onAbort(stop?.signal, () => this.#onStop(stop as Stop)),
    ];
    this.#stopListening = () => {
      for (const stopListening of stops) stopListening();
    };
    if (timeoutMs !== undefined) this.#timeout = clock.setTimer(timeoutMs, () => this.#onTimeout(timeoutMs));
    this.#armRenewal();
    let answer: Promise<T>;
    try {
      const returned = call(this.#controller.signal);
      answer = new Promise((pass) => pass(returned));
    } catch (error) {
      return this.#end((row) => ({ status: "threw", error, row }));
    }
    answer.then(
      (value) => this.#end((row) => ({ status: "returned", value, row })),
      (error: unknown) => this.#end((row) => ({ status: "threw", error, row })),
    );
  }

  #leftMs(): number {
    return this.#terms.leaseMs - this.#since.elapsedMs();
  }

  #arm(ms: number, fire: () => void): void {
    this.#timer?.clear();
    this.#timer = this.#terms.clock.setTimer(Math.max(0, ms), fire);
  }

  #armRenewal(): void {
    this.#arm(this.#terms.leaseMs / 3 - this.#since.elapsedMs(), () => void this.#renew());
  }

  async #renew(): Promise<void> {
    const { writer, leaseMs, clock, gate } = this.#terms;
    if (this.#leftMs() <= 0 || !isOpen(gate)) return this.#lose();
    // Guards the deadline also while the renewal hangs.
    this.#arm(this.#leftMs(), () => this.#onDeadline());
    const since = new Stopwatch(clock);
    this.#renewing = true;
    try {
      const result = await writer.updateHeld(this.#row, { lease: { durationMs: leaseMs, token: "keep" } });
      if (this.#settled) return;
      if (result.status === "fenced") return this.#lose({ fencedBy: result.epoch });
      if (result.status === "conflict") return this.#lose(result.row === undefined ? {} : { found: result.row });
      this.#row = result.row;
      this.#since = since;
      this.#lastError = undefined;
      if (!this.#settleEnded()) this.#armRenewal();
    } catch (error) {
      if (this.#settled || this.#settleEnded()) return;
      this.#lastError = error;
      // Unknown. The deadline stands; until then it is worth asking again.
      if (!isEvenkeelError(error) || error.code !== "STORE_UNAVAILABLE") this.#lose();
      else this.#arm(Math.min(leaseMs / 10, this.#leftMs()), () => void this.#renew());
    } finally {
      this.#renewing = false;
    }
  }

  #end(resultOf: (row: ResourceRow) => LeasedCallResult<T>): void {
    if (this.#settled) return;
    this.#ended = resultOf;
    if (!this.#renewing) this.#settleEnded();
  }

  #settleEnded(): boolean {
    if (this.#ended === undefined) return false;
    this.#settle(this.#ended(this.#row));
    return true;
  }

  #onTimeout(timeoutMs: number): void {
    const error = new EvenkeelError("WAIT_TIMEOUT", `The action took longer than ${timeoutMs} ms.`);
    this.#abandon({ status: "timedOut", error, row: this.#row });
  }

  /** What the call answers to the signal counts, if the row is ours still. */
  #onStop({ signal, graceMs }: Stop): void {
    if (this.#settled || this.#ended !== undefined) return;
    if (!isOpen(this.#terms.gate)) return this.#abort(signal.reason);
    this.#grace = this.#terms.clock.setTimer(graceMs, () => this.#abort(signal.reason));
    this.#controller.abort(signal.reason);
  }

  #abort(error: unknown): void {
    this.#abandon({ status: "aborted", error, row: this.#row });
  }

  #onDeadline(): void {
    // A renewal hangs. What a finished call did is known all the same, and whether it counts its next write decides.
    if (!this.#settleEnded()) this.#lose();
  }

  #lose(why: { readonly found?: ResourceRow; readonly fencedBy?: number } = {}): void {
    const error = this.#lastError;
    this.#abandon({ status: "lost", ...(error === undefined ? {} : { error }), ...why });
  }

  /** Nobody waits for the call any more, unless it is over already. */
  #abandon(result: Exclude<LeasedCallResult<T>, { status: "returned" | "threw" }>): void {
    if (this.#settled) return;
    // What the call did is known, so neither time nor a signal changes it; only another writer makes it worthless.
    if (this.#ended !== undefined && result.status !== "lost") return;
    this.#settle(result);
    this.#controller.abort(
      result.status === "lost"
        ? new EvenkeelError("LEASE_LOST", "The lease of the resource was lost while it was acted on.", {
            cause: result.error,
          })
        : result.error,
    );
  }

  #settle(result: LeasedCallResult<T>): void {
    this.#settled = true;
    this.#timer?.clear();
    this.#timeout?.clear();
    this.#grace?.clear();
    this.#stopListening();
    this.#resolve(result);
  }
}

/** A gate that can't say so is closed. */
function isOpen(gate: (() => boolean) | undefined): boolean {
  try {
    return gate?.() !== false;
  } catch {
    return false;
  }
}
