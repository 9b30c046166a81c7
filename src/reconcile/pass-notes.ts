import type { ReconcilerEvent } from "../events.ts";
import { errorCode } from "./error-name.ts";
import { Explanations, endingWith, heldExplanation } from "./explanations.ts";
import type { Found } from "./found.ts";
import type { Explanation, HeldAction } from "./planned.ts";
import { ReconcilerMetrics } from "./reconciler-metrics.ts";
import type { ReconcilerSettings } from "./settings.ts";
import type { StepOutcome } from "./step.ts";

type DistributiveOmit<T, Key extends PropertyKey> = T extends unknown ? Omit<T, Key> : never;
/** An event without what all of a reconciler's have. */
export type BareEvent = DistributiveOmit<ReconcilerEvent, "at" | "reconciler">;

/** Tells what passes did, found and held: to `explain()`, to the metrics and to whoever listens to events. */
export class PassNotes<Spec> {
  readonly metrics: ReconcilerMetrics;
  readonly #settings: ReconcilerSettings<Spec>;
  readonly #emit: (event: BareEvent) => void;
  readonly #explanations = new Explanations();

  constructor(settings: ReconcilerSettings<Spec>, emit: (event: BareEvent) => void) {
    this.#settings = settings;
    this.#emit = emit;
    this.metrics = new ReconcilerMetrics(settings.name, settings.clock);
  }

  /** Why each recent action on a resource was taken, held or skipped, oldest first. */
  of(id: string): readonly Explanation[] {
    return this.#explanations.of(id);
  }

  /** What a pass found before it does anything. */
  found({ unknowns, isFenced, composition: { held, unlisted } }: Found): void {
    for (const { of, error } of unknowns) this.#emit({ type: "answer_unknown", of, error });
    if (isFenced) this.metrics.fenced();
    for (const action of held) this.held(action);
    if (unlisted > 0) this.metrics.held("budget", unlisted);
  }

  /** What is to be done, and is not, for now. */
  held(action: HeldAction): void {
    this.metrics.held(action.heldBy);
    this.#explain(action.id, heldExplanation(action));
  }

  /** What became of a step that was begun. */
  ended({ step, result, error }: StepOutcome): void {
    const { type: action, id, incarnation, reason } = step;
    if (result === "notBegun") return;
    if (result === "lost") {
      this.#explain(id, { action, outcome: "skipped", reason: "AnotherWriterWasFirst" });
      return;
    }
    this.metrics.acted(action, result);
    const withError = result === "failed" ? { error } : {};
    this.#emit({
      type: "action_finished",
      action,
      id,
      incarnation,
      reason,
      result,
      ...withError,
      ...this.#epochOf(id),
    });
    const why = result === "failed" ? `${reason}, failed: ${errorCode(error)}` : reason;
    this.#explain(id, { action, outcome: result, reason: why });
  }

  /** How it stands now: what happened, and last this, once where that is what happened last. */
  withPresent(id: string, present: readonly Pick<Explanation, "action" | "outcome" | "reason">[]): Explanation[] {
    const at = this.#settings.clock.now();
    return endingWith(
      this.of(id),
      present.map((now) => ({ at, ...now, ...this.#epochOf(id) })),
    );
  }

  #explain(id: string, explanation: Pick<Explanation, "action" | "outcome" | "reason">): void {
    this.#explanations.note(id, { at: this.#settings.clock.now(), ...explanation, ...this.#epochOf(id) });
  }

  /** Of the leader; without an election, of the slot's shard. */
  #epochOf(id: string): { readonly epoch?: number } {
    const { leader, shards } = this.#settings;
    const epoch = leader === undefined ? shards?.epochOf(id) : leader.epoch;
    return epoch === undefined ? {} : { epoch };
  }
}
