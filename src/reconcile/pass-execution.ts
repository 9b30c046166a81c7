import type { Timer } from "../clock.ts";
import { Executor } from "./executor.ts";
import type { ReconcilerSettings } from "./settings.ts";
import type { Step, StepOutcome } from "./step.ts";

/** Somebody who may not want to wait until a pass is over. */
export interface Interruption {
  /** Calls back once, when that is so; at once where it was so already. */
  onRequest(end: () => void): void;
}

/** What the steps of one pass are bounded by. */
export interface PassBounds {
  /** Tells callbacks that run to end, and gives them a moment to say what they did. */
  readonly signal?: AbortSignal | undefined;
  readonly mayBegin: () => boolean;
  /** Whether the leadership goes on under which the steps were decided. */
  readonly lasts: () => boolean;
  /** Who may end the waiting. Absent: everything is waited for. */
  readonly interruption?: Interruption | undefined;
  /** With an interruption: epoch milliseconds by our clock after which nobody waits, because something else is due. */
  readonly untilAt?: number | undefined;
}

/** What became of the steps of a pass, as far as that is known when it ends. */
export interface PassOutcomes {
  readonly outcomes: readonly StepOutcome[];
  /** It was not waited for the rest. */
  readonly isCut: boolean;
}

export interface PassExecutionHooks {
  /** Every step that ends, also when its pass has ended before. */
  onOutcome(outcome: StepOutcome): void;
  /** What an earlier pass began has ended. */
  onLateEnd(): void;
  /** What an earlier pass began was ended by a failure of the store, which has no pass to fail. */
  onLateFailure(error: unknown): void;
}

/**
 * Executes the steps of passes. A pass may end before its steps do: what was begun goes on, and its slots are busy until it has ended; what
 * was not never begins.
 */
export class PassExecution<Spec> {
  readonly #settings: ReconcilerSettings<Spec>;
  readonly #hooks: PassExecutionHooks;
  readonly #executor: Executor<Spec>;
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #listeners = new Set<(outcome: StepOutcome) => void>();

  constructor(settings: ReconcilerSettings<Spec>, hooks: PassExecutionHooks) {
    const { name, store, clock, random, actionTimeoutMs, terminateGraceMs, concurrency, storeTimeoutMs } = settings;
    const { leader, shards, create, terminate, forceTerminate, update } = settings;
    this.#settings = settings;
    this.#hooks = hooks;
    this.#executor = new Executor<Spec>({
      store,
      group: name,
      clock,
      random,
      callbacks: { create, terminate, forceTerminate, update },
      leaseMs: actionTimeoutMs,
      actionTimeoutMs,
      terminateGraceMs,
      concurrency,
      storeTimeoutMs,
      ownObserve: settings.observe !== undefined,
      gate: {
        epoch: () => leader?.epoch ?? 0,
        fenceOf: (id) => shards?.fenceOf(id),
        hold: (id, step) => (shards === undefined ? step() : shards.run(id, step)),
        isAllowed: (id) => (leader?.isLeader() ?? true) && (shards?.isAllowed(id) ?? true),
      },
      onOutcome: (outcome) => {
        hooks.onOutcome(outcome);
        for (const listener of this.#listeners) listener(outcome);
      },
    });
  }

  /** Whether a step of the slot has no outcome yet. */
  isBusy(id: string): boolean {
    return this.#executor.busy.has(id);
  }

  /** Resolves once nothing is under way. */
  async idle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
  }

  /** @throws EvenkeelError `STORE_UNAVAILABLE` once all that was begun has settled. */
  async execute(
    steps: readonly Step[],
    { signal, mayBegin, lasts, interruption, untilAt }: PassBounds,
  ): Promise<PassOutcomes> {
    if (steps.length === 0) return { outcomes: [], isCut: false };
    let isCut = false;
    const cut = this.#cut(interruption, untilAt, () => {
      isCut = true;
    });
    // Something else is desired by now: nothing of this begins.
    if (isCut) {
      cut.clear();
      return { outcomes: [], isCut };
    }
    const settled: StepOutcome[] = [];
    const own = new Set(steps);
    const listener = (outcome: StepOutcome): void => {
      if (own.has(outcome.step)) settled.push(outcome);
    };
    this.#listeners.add(listener);
    const cutOff = new AbortController();
    const execution = this.#executor
      .execute(steps, {
        signal: this.#settings.leader?.signal,
        stop: signal,
        cut: cutOff.signal,
        lasts,
        mayBegin: () => !isCut && lasts() && mayBegin(),
      })
      .finally(() => {
        this.#listeners.delete(listener);
        this.#underWay.delete(execution);
      });
    this.#underWay.add(execution);
    const outcomes = await Promise.race([execution, cut.happened]).finally(cut.clear);
    if (outcomes !== undefined) return { outcomes, isCut: false };
    execution.catch((error: unknown) => this.#hooks.onLateFailure(error)).finally(() => this.#hooks.onLateEnd());
    const known = [...settled];
    // The slots of what has not begun are free for the next pass.
    cutOff.abort();
    return { outcomes: known, isCut: true };
  }

  /** When it is not waited any longer; without an interruption that is never. */
  #cut(
    interruption: Interruption | undefined,
    untilAt: number | undefined,
    onCut: () => void,
  ): { readonly happened: Promise<undefined>; clear(): void } {
    const { clock } = this.#settings;
    let timer: Timer | undefined;
    const happened = new Promise<undefined>((resolve) => {
      const end = (): void => {
        onCut();
        resolve(undefined);
      };
      if (interruption === undefined) return;
      interruption.onRequest(end);
      if (untilAt !== undefined) timer = clock.setTimer(Math.max(1, untilAt - clock.now()), end);
    });
    return { happened, clear: () => timer?.clear() };
  }
}
