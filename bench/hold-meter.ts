import { openSync, readSync } from "node:fs";

/** Measures how long work takes, and for how long one piece of it keeps the event loop: the longest time between two turns. */
export class HoldMeter {
  readonly #startMs = nowMs();
  #last = this.#startMs;
  #longestMs = 0;
  #isOn = true;

  constructor() {
    const turn = (): void => {
      this.#note();
      if (this.#isOn) setImmediate(turn);
    };
    setImmediate(turn);
  }

  /** To be called when the work is over. */
  async stop(): Promise<{ readonly ms: number; readonly heldMs: number }> {
    const ms = nowMs() - this.#startMs;
    // What has run since the last turn is part of it.
    await new Promise(setImmediate);
    this.#isOn = false;
    return { ms, heldMs: this.#longestMs };
  }

  #note(): void {
    const now = nowMs();
    this.#longestMs = Math.max(this.#longestMs, now - this.#last);
    this.#last = now;
  }
}

const schedule = process.platform === "linux" ? openSync(`/proc/self/task/${process.pid}/schedstat`, "r") : undefined;
const text = Buffer.alloc(64);

/** A clock that stands still while others have our core, as far as the system tells: what they do is not what is measured. */
export function nowMs(): number {
  return performance.now() - waitedMs();
}

function waitedMs(): number {
  if (schedule === undefined) return 0;
  const length = readSync(schedule, text, 0, text.length, 0);
  const [, waitedNs] = text.toString("latin1", 0, length).split(" ");
  return Number(waitedNs) / 1e6;
}
