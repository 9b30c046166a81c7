import type { ReconcilerEvent } from "../events.ts";
import { Explanations } from "./explanations.ts";
import type { Found } from "./found.ts";
import type { Explanation } from "./planned.ts";
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
    for (const { id, type: action, reason, heldBy } of held) {
      this.metrics.held(heldBy);
      this.#explain(id, { action, outcome: "held", reason: `${reason}, held by ${heldBy}` });
    }
    if (unlisted > 0) this.metrics.held("budget", unlisted);
  }

  /** What became of a step. */
  ended({ step, result, error }: StepOutcome): void {
    const { type: action, id, incarnation, reason } = step;
    if (result === "lost" || result === "notBegun") {
      const why = result === "lost" ? "AnotherWriterWasFirst" : "PassEnded";
      this.#explain(id, { action, outcome: "skipped", reason: why });
      return;
    }
    this.metrics.acted(action, result);
    const withError = result === "failed" ? { error } : {};
    this.#emit({ type: "action_finished", action, id, incarnation, reason, result, ...withError, ...this.#epoch() });
    this.#explain(id, { action, outcome: result, reason });
  }

  #explain(id: string, explanation: Pick<Explanation, "action" | "outcome" | "reason">): void {
    this.#explanations.note(id, { at: this.#settings.clock.now(), ...explanation, ...this.#epoch() });
  }

  #epoch(): { readonly epoch?: number } {
    const epoch = this.#settings.leader?.epoch;
    return epoch === undefined ? {} : { epoch };
  }
}
