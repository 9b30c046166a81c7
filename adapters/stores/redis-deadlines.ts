import { setMaxListeners } from "node:events";
import type { Clock, Timer } from "../../src/clock.ts";
import { redisError, unavailable } from "./redis-errors.ts";

/** Calls that are made at once share a deadline; more of them would make the signal's list of listeners slow. */
const MOST_TOGETHER = 64;

/** A call may share the deadline of one before it that is later by no more than this, and by a hundredth of its time. */
const APART_MS = 1;

/** Calls that end together if nobody answers them. */
interface Deadline {
  readonly abort: AbortController;
  readonly startedAt: number;
  readonly timeoutMs: number;
  readonly timer: Timer;
  /** What refuses each call that is under way. */
  readonly calls: Set<(late: Error) => void>;
  joined: number;
}

/** Settles each call within its time, whatever the driver would do with it. */
export class RedisDeadlines {
  readonly #clock: Clock;
  readonly #whySilent: () => string | undefined;
  #latest: Deadline | undefined;
  #underWay = 0;
  #drained: (() => void)[] = [];

  /** @param whySilent - What is known of why nobody answers, when a call's time is up. */
  constructor(clock: Clock, whySilent: () => string | undefined = () => undefined) {
    this.#clock = clock;
    this.#whySilent = whySilent;
  }

  /**
   * What `work` answers. Its signal aborts when its time is up: what was not written yet is taken back.
   * @throws EvenkeelError `STORE_UNAVAILABLE` when its time is up, and what `work` fails with as `redisError` says it.
   */
  bound<T>(timeoutMs: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const deadline = this.#deadline(timeoutMs);
      const { calls, abort } = deadline;
      const refuse = (late: Error): void => {
        this.#settled();
        reject(unavailable("Redis did not answer in time", late));
      };
      calls.add(refuse);
      // An answer that comes after its time finds nobody.
      const leave = (): boolean => {
        if (!calls.delete(refuse)) return false;
        if (calls.size === 0) this.#end(deadline);
        this.#settled();
        return true;
      };
      work(abort.signal).then(
        (value) => {
          if (leave()) resolve(value);
        },
        (error: unknown) => {
          if (leave()) reject(redisError(error));
        },
      );
    });
  }

  /** Resolves once no call is under way. */
  async drained(): Promise<void> {
    if (this.#underWay > 0) await new Promise<void>((resolve) => this.#drained.push(resolve));
  }

  #deadline(timeoutMs: number): Deadline {
    this.#underWay += 1;
    const latest = this.#latest;
    const now = this.#clock.monotonic();
    if (
      latest?.timeoutMs === timeoutMs &&
      latest.joined < MOST_TOGETHER &&
      now - latest.startedAt <= Math.min(APART_MS, timeoutMs / 100)
    ) {
      latest.joined += 1;
      return latest;
    }
    const timer = this.#clock.setTimer(timeoutMs, () => this.#pass(deadline));
    const abort = new AbortController();
    // Node takes more than ten listeners for a leak.
    setMaxListeners(MOST_TOGETHER, abort.signal);
    const deadline: Deadline = { abort, startedAt: now, timeoutMs, timer, calls: new Set(), joined: 1 };
    this.#latest = deadline;
    return deadline;
  }

  #pass(deadline: Deadline): void {
    const why = this.#whySilent();
    const late = new Error(
      `no answer within ${Math.round(deadline.timeoutMs)} ms${why === undefined ? "" : `: ${why}`}`,
    );
    const calls = [...deadline.calls];
    deadline.calls.clear();
    this.#end(deadline);
    for (const refuse of calls) refuse(late);
    deadline.abort.abort(late);
  }

  #end(deadline: Deadline): void {
    deadline.timer.clear();
    if (this.#latest === deadline) this.#latest = undefined;
  }

  #settled(): void {
    this.#underWay -= 1;
    if (this.#underWay > 0) return;
    for (const tell of this.#drained.splice(0)) tell();
  }
}
