import { isRetryAfter } from "../resources/action-errors.ts";
import { type Found, isBlind } from "./found.ts";
import type { ReconcilerSettings } from "./settings.ts";

import type { StepOutcome } from "./step.ts";

/** How soon an own `observe` is asked again whether what was done shows; doubled each time that it doesn't. */
const LOOK_AGAIN_MS = 250;
/** How often it is looked whether beats are back while all are silent. */
const MASS_SILENCE_MS = 10_000;

/** When there is something to do again. Epoch milliseconds by our clock. */
export interface NextPass {
  /** Resyncs apart. Absent: nothing comes due by time alone. */
  readonly wakeAt?: number;
  /** The same, as if there were nothing left that could be done at once. */
  readonly dueAt?: number;
  /** Who was asked threw a `RetryAfter`: nothing is due before. */
  readonly retryAt?: number;
}

/** Knows when the next pass is due. */
export class NextPasses {
  readonly #settings: ReconcilerSettings<never>;
  readonly #local: (moment: number) => number;
  #lookAgainMs = LOOK_AGAIN_MS;

  /** @param local - a moment of the store's clock by ours. */
  constructor(settings: ReconcilerSettings<never>, local: (moment: number) => number) {
    this.#settings = settings;
    this.#local = local;
  }

  /** After a pass that came to these outcomes. */
  after(found: Found, outcomes: readonly StepOutcome[]): NextPass {
    const isNews = outcomes.some(({ result }) => result === "done");
    const delayMs = isNews ? LOOK_AGAIN_MS : Math.min(this.#lookAgainMs * 2, this.#settings.resyncIntervalMs);
    this.#lookAgainMs = delayMs;
    return this.#next(found, outcomes.some(isNewResource) ? "new" : "known", delayMs);
  }

  /** As things were found. */
  asFound(found: Found): NextPass {
    return this.#next(found, "known", this.#lookAgainMs);
  }

  /** By when a pass that takes these steps must have ended, so that the next one is not late. */
  untilAt({ silenceAt, composition: { steps } }: Found): number | undefined {
    const { clock, staleness } = this.#settings;
    const moments = silenceAt === undefined ? [] : [this.#local(silenceAt)];
    // What the pass makes itself may fall silent, too, while something else still hangs.
    if (steps.some(({ type }) => type === "create" || type === "replace" || type === "adopt"))
      moments.push(clock.now() + (staleness.quietMs ?? LOOK_AGAIN_MS) + 1);
    return moments.length === 0 ? undefined : Math.min(...moments);
  }

  #next(found: Found, resources: "new" | "known", lookAgainMs: number): NextPass {
    const { composition, silenceAt, unknowns } = found;
    const { clock, observe, staleness } = this.#settings;
    const now = clock.now();
    const askedMs = unknowns.flatMap(({ of, error }) =>
      of !== "staleness" && isRetryAfter(error) ? [error.afterMs] : [],
    );
    if (isBlind(found)) {
      // Time alone changes nothing here, but that it is tried again.
      const retryAt = now + Math.max(...askedMs);
      return askedMs.length === 0 ? {} : { wakeAt: retryAt, retryAt };
    }
    const moments = [composition.nextAt, silenceAt].flatMap((at) => (at === undefined ? [] : [this.#local(at)]));
    if (resources === "new") moments.push(now + (staleness.quietMs ?? 0) + 1);
    if (composition.mass.mode === "hold") moments.push(now + MASS_SILENCE_MS);
    if (observe !== undefined && !composition.isSettled) moments.push(now + lookAgainMs);
    const dueAt = moments.length === 0 ? undefined : Math.max(now, Math.min(...moments));
    const wakeAt = composition.steps.length > 0 ? now : dueAt;
    return { ...(wakeAt === undefined ? {} : { wakeAt }), ...(dueAt === undefined ? {} : { dueAt }) };
  }
}

function isNewResource({ step, result }: StepOutcome): boolean {
  return result === "done" && (step.type === "create" || step.type === "replace" || step.type === "adopt");
}
