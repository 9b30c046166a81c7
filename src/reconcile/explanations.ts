import type { Explanation, HeldAction } from "./planned.ts";

const MOST_PER_ID = 20;
const MOST_IDS = 10_000;

/** The recent past of each resource, as far as somebody may ask for it. Bounded: those that were silent for longest are forgotten. */
export class Explanations {
  readonly #byId = new Map<string, Explanation[]>();

  /** Keeps one more; a repetition of the last only moves its time, so that what is held for an hour does not push out the rest. */
  note(id: string, explanation: Explanation): void {
    const known = this.#byId.get(id) ?? [];
    const last = known.at(-1);
    if (last !== undefined && isSame(last, explanation) && explanation.outcome !== "done") known.pop();
    const kept = [...known, Object.freeze(explanation)].slice(-MOST_PER_ID);
    this.#byId.delete(id);
    this.#byId.set(id, kept);
    if (this.#byId.size <= MOST_IDS) return;
    const [oldest] = this.#byId.keys();
    this.#byId.delete(oldest as string);
  }

  /** Oldest first. */
  of(id: string): readonly Explanation[] {
    return this.#byId.get(id) ?? [];
  }
}

/** What is said of an action that is held. */
export function heldExplanation({
  type,
  reason,
  heldBy,
}: HeldAction): Pick<Explanation, "action" | "outcome" | "reason"> {
  return { action: type, outcome: "held", reason: `${reason}, held by ${heldBy}` };
}

/** What happened, and how it stands: what happened last and still stands so is told once, as of now. */
export function endingWith(past: readonly Explanation[], present: readonly Explanation[]): Explanation[] {
  const stands = past.findLastIndex((one) => one.outcome === "done" || !present.some((now) => isSame(one, now)));
  return [...past.slice(0, stands + 1), ...present];
}

function isSame(a: Explanation, b: Explanation): boolean {
  return a.action === b.action && a.outcome === b.outcome && a.reason === b.reason && a.epoch === b.epoch;
}
