import { sleepOn, type Timer } from "../../src/clock.ts";
import type { Clock, LedgerStore, Random } from "../../src/index.ts";

interface LifeTerms {
  readonly clock: Clock;
  /** How far its wall clock is ahead of the others', in milliseconds. */
  readonly aheadMs: number;
  /** At which of the awaits that it passes the process dies. */
  readonly diesAt: number;
  readonly onDeath: () => void;
}

/**
 * One life of a process: it may die at any await, which takes its timers along and lets nothing that it waits for come back; and it may
 * stand still for a while, as one does that was stopped by a signal. What it has sent is under way all the same.
 */
export class Life {
  readonly clock: Clock;
  readonly #terms: LifeTerms;
  readonly #timers = new Set<Timer>();
  #passed = 0;
  #diesAt: number;
  #isDead = false;
  /** What came due while it stood still. */
  #backlog: (() => void)[] | undefined;

  constructor(terms: LifeTerms) {
    this.#terms = terms;
    this.#diesAt = terms.diesAt;
    const { clock, aheadMs } = terms;
    const own: Clock = {
      now: () => clock.now() + aheadMs,
      monotonic: () => clock.monotonic(),
      sleep: (ms, signal) => sleepOn(own, ms, signal),
      setTimer: (ms, fire) => this.#setTimer(ms, fire),
    };
    this.clock = own;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  die(): void {
    if (this.#isDead) return;
    this.#isDead = true;
    for (const timer of this.#timers) timer.clear();
    this.#timers.clear();
    this.#terms.onDeath();
  }

  /** From now on it does not die. */
  spare(): void {
    this.#diesAt = Number.POSITIVE_INFINITY;
  }

  freeze(): void {
    this.#backlog ??= [];
  }

  thaw(): void {
    const backlog = this.#backlog ?? [];
    this.#backlog = undefined;
    for (const go of backlog) go();
  }

  /** An await. Only who lives comes back from it. */
  async pass(): Promise<void> {
    this.#passed += 1;
    if (this.#passed >= this.#diesAt) this.die();
    if (this.#isDead) return new Promise(() => {});
    const backlog = this.#backlog;
    if (backlog !== undefined) await new Promise<void>((resolve) => backlog.push(resolve));
    if (this.#isDead) await new Promise(() => {});
  }

  /** What somebody answers to a question that was sent. */
  async ask<T>(send: () => Promise<T>): Promise<T> {
    await this.pass();
    try {
      return await send();
    } finally {
      await this.pass();
    }
  }

  #setTimer(ms: number, fire: () => void): Timer {
    let isCleared = this.#isDead;
    const go = (): void => {
      if (!isCleared && !this.#isDead) fire();
    };
    if (this.#isDead) return { clear() {} };
    const timer = this.#terms.clock.setTimer(ms, () => {
      this.#timers.delete(timer);
      if (this.#backlog === undefined) go();
      else this.#backlog.push(go);
    });
    this.#timers.add(timer);
    return {
      clear: () => {
        isCleared = true;
        this.#timers.delete(timer);
        timer.clear();
      },
    };
  }
}

/** A store as a process has it, for as long as it lives. */
export function storeOf(life: Life, inner: LedgerStore): LedgerStore {
  const resources = Object.fromEntries(
    Object.entries(inner.resources).map(([name, operation]) => [
      name,
      (...args: unknown[]) => life.ask(() => (operation as (...args: unknown[]) => Promise<unknown>)(...args)),
    ]),
  );
  return { ...inner, resources: resources as unknown as LedgerStore["resources"] };
}

/** A whole number from `least` to `most`. */
export function between(random: Random, least: number, most: number): number {
  return least + Math.floor(random.float() * (most - least + 1));
}
