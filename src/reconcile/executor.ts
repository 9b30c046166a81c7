import { onAbort } from "../abort-listeners.ts";
import { RowWriter } from "../resources/row-writer.ts";
import { type CreationStep, createResource } from "./executor-creation.ts";
import { type ExecuteOptions, Execution } from "./executor-execution.ts";
import { type LedgerStep, writeLedger } from "./executor-ledger-steps.ts";
import { SlotTurns } from "./executor-slot-turns.ts";
import { terminateStray } from "./executor-stray.ts";
import { terminateResource } from "./executor-termination.ts";
import type { Acting, ExecutorTerms, Verdict } from "./executor-terms.ts";
import { updateResource } from "./executor-update.ts";
import { Semaphore } from "./semaphore.ts";
import { slowStart } from "./slow-start.ts";
import type { Step, StepOutcome } from "./step.ts";

/**
 * Does what a plan says. What the ledger has to know is written before anybody is called, so that whoever comes after a crash goes on
 * with the same idempotency key. It does **not** keep two processes from calling the same callback for a row whose lease one of
 * them has lost without noticing: the key and the fencing token are there for that.
 *
 * - Steps that only write (`fail`, `drop`, `adopt`) come first, in one store call as far as they fit.
 * - Then creations and replacements in their order with a slow start, and beside them terminations and updates in theirs.
 * - At most `concurrency` steps that call back are under way at a time, and one for a slot.
 */
export class Executor<Spec = unknown> {
  readonly #terms: ExecutorTerms<Spec>;
  readonly #writer: RowWriter;
  /** Held from before the lease of a row is taken, so that none lapses in a queue. */
  readonly #permits: Semaphore;
  readonly #turns = new SlotTurns();
  /** How many steps of each slot have no outcome yet. */
  readonly #open = new Map<string, number>();
  readonly #busy = new Set<string>();

  constructor(terms: ExecutorTerms<Spec>) {
    const { store, group, clock, random, storeTimeoutMs, gate, concurrency } = terms;
    this.#terms = terms;
    this.#writer = new RowWriter({
      store,
      group,
      clock,
      random,
      storeTimeoutMs,
      epoch: () => gate.epoch(),
      fence: (id) => gate.fenceOf?.(id),
    });
    this.#permits = new Semaphore(concurrency);
  }

  /** Slots with a step that has no outcome yet, also those whose turn has not come. */
  get busy(): ReadonlySet<string> {
    return this.#busy;
  }

  /**
   * Does the steps. Once the store has failed no other step begins.
   * @returns an outcome for each step, in their order.
   * @throws EvenkeelError `STORE_UNAVAILABLE` after everything that was begun has settled.
   */
  async execute(steps: readonly Step[], options: ExecuteOptions): Promise<StepOutcome[]> {
    const execution = new Execution({ ...options, onOutcome: (outcome) => this.#onOutcome(outcome) });
    const acting: Acting<Spec> = {
      terms: this.#terms,
      writer: this.#writer,
      signal: options.signal,
      lasts: options.lasts ?? (() => true),
      stop: options.stop,
    };
    const runCalling = async (step: CallingStep): Promise<Verdict> => {
      const act = () => this.#held(step, execution, () => perform(acting, step));
      // Who is cut off need not queue.
      return execution.isOver(step) ? act() : this.#turns.run(step.id, () => this.#permits.run(act));
    };
    for (const { id } of steps) this.#onBegin(id);
    const stopListening = onAbort(options.cut, () => execution.abandon(steps));
    try {
      await this.#executeAll(steps, acting, execution, runCalling);
    } finally {
      stopListening();
    }
    return execution.finish(steps);
  }

  async #executeAll(
    steps: readonly Step[],
    acting: Acting<Spec>,
    execution: Execution,
    runCalling: (step: CallingStep) => Promise<Verdict>,
  ): Promise<void> {
    const unfailed = new Map<string, Verdict>();
    await Promise.all(
      steps.filter(isLedgerStep).map(async (step) => {
        const verdict = await execution.run(step, () => writeLedger(acting, step));
        if (step.type === "fail" && verdict.result !== "done") unfailed.set(step.id, verdict);
      }),
    );
    const creations = steps.filter(isCreationStep);
    const others = steps.filter(isOtherStep);
    await Promise.all([
      this.#create(creations, unfailed, execution, runCalling),
      inOrder(others, this.#terms.concurrency, runCalling),
    ]);
  }

  async #create(
    steps: readonly CreationStep[],
    unfailed: ReadonlyMap<string, Verdict>,
    execution: Execution,
    runCalling: (step: CallingStep) => Promise<Verdict>,
  ): Promise<void> {
    const rest = await slowStart({
      items: steps,
      most: this.#terms.concurrency,
      run: async (step) => {
        const refused = refusal(unfailed.get(step.id));
        const { result } = await (refused === undefined ? runCalling(step) : execution.run(step, async () => refused));
        return result === "failed" ? "failed" : "succeeded";
      },
    });
    for (const step of rest) await execution.run(step, async () => ({ result: "notBegun" }));
  }

  /** Does a step, and tells of it, while the slot stays ours: it is handed over once that has settled. */
  async #held(step: CallingStep, execution: Execution, work: () => Promise<Verdict>): Promise<Verdict> {
    const { gate } = this.#terms;
    const act = (): Promise<Verdict> => execution.run(step, work);
    if (gate.hold === undefined || execution.isOver(step)) return act();
    try {
      return await gate.hold(step.id, act);
    } catch {
      return execution.run(step, async () => ({ result: "fenced" }));
    }
  }

  #onBegin(id: string): void {
    this.#open.set(id, (this.#open.get(id) ?? 0) + 1);
    this.#busy.add(id);
  }

  #onOutcome(outcome: StepOutcome): void {
    // First, so that whoever plans anew because of the outcome finds the slot free.
    this.#onEnd(outcome.step.id);
    this.#terms.onOutcome(outcome);
  }

  #onEnd(id: string): void {
    const left = (this.#open.get(id) ?? 1) - 1;
    if (left > 0) {
      this.#open.set(id, left);
      return;
    }
    this.#open.delete(id);
    this.#busy.delete(id);
  }
}

type OtherStep = Exclude<Step, LedgerStep | CreationStep>;
type CallingStep = CreationStep | OtherStep;

/** A replacement whose predecessor was to be FAILED first, and is not, is not made. */
function refusal(unfailed: Verdict | undefined): Verdict | undefined {
  if (unfailed === undefined) return undefined;
  if (unfailed.result === "notBegun") return { result: "notBegun" };
  return { result: "lost", ...(unfailed.row === undefined ? {} : { row: unfailed.row }) };
}

function isLedgerStep(step: Step): step is LedgerStep {
  return step.type === "fail" || step.type === "drop" || step.type === "adopt";
}

function isCreationStep(step: Step): step is CreationStep {
  return step.type === "create" || step.type === "replace";
}

function isOtherStep(step: Step): step is OtherStep {
  return !isLedgerStep(step) && !isCreationStep(step);
}

function perform<Spec>(acting: Acting<Spec>, step: CallingStep): Promise<Verdict> {
  switch (step.type) {
    case "create":
    case "replace":
      return createResource(acting, step);
    case "update":
      return updateResource(acting, step);
    default:
      return step.row === undefined ? terminateStray(acting, step) : terminateResource(acting, step);
  }
}

/** Does things in their order, so many at a time: each begins when one before it has ended, and waits in no queue before. */
async function inOrder<T>(items: readonly T[], most: number, run: (item: T) => Promise<unknown>): Promise<void> {
  const left = items[Symbol.iterator]();
  const worker = async (): Promise<void> => {
    for (const item of left) await run(item);
  };
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, worker));
}
