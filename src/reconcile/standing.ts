import { EvenkeelError } from "../errors.ts";
import { storeOperation } from "../store-operation.ts";
import { type ConditionReasons, nextConditions, statusOf, statusText } from "./conditions.ts";
import type { Found } from "./found.ts";
import type { Condition } from "./planned.ts";
import type { ReconcilerSettings } from "./settings.ts";

/** Conditions of this process alone, which say nothing of the group. */
const OF_THIS_PROCESS: ReadonlySet<string> = new Set(["NotLeader", "Fenced", "Paused"]);

/** How things stood at the end of a pass, besides what it found. */
export interface Ending {
  readonly isPaused: boolean;
  /** A later leader was there. */
  readonly isFenced: boolean;
  /** The pass was allowed to act. */
  readonly isActing: boolean;
}

/** Says how the group stands: here, and where that is news, in the ledger. */
export class Standing<Spec> {
  readonly #settings: ReconcilerSettings<Spec>;
  readonly #onFenced: () => void;
  #conditions: readonly Condition[] | undefined;
  #keptStatus: string | undefined;
  #observedGeneration = 0;

  /** @param onFenced - called when a later leader kept the status out of the ledger. */
  constructor(settings: ReconcilerSettings<Spec>, onFenced: () => void) {
    this.#settings = settings;
    this.#onFenced = onFenced;
  }

  /** The conditions of the last pass; of a ledger in which another has left some, those. */
  conditions({ stored }: Pick<Found, "stored">): readonly Condition[] {
    return this.#conditions ?? statusOf(stored.status).conditions;
  }

  /** The generation that a pass acted on last, here or elsewhere. */
  observedGeneration({ stored }: Pick<Found, "stored">): number {
    return Math.max(statusOf(stored.status).observedGeneration, this.#observedGeneration);
  }

  /** What the conditions would be after a pass that found this. */
  next(found: Found, ending: Pick<Ending, "isPaused" | "isFenced">): Condition[] {
    return nextConditions(this.conditions(found), this.#reasons(found, ending), this.#settings.clock.now());
  }

  /**
   * Takes in what a pass came to.
   * @param onChange - called for each condition that became another than it was.
   * @throws EvenkeelError `STORE_UNAVAILABLE`.
   */
  async conclude(
    found: Found,
    ending: Ending,
    onChange: (condition: Condition) => void,
  ): Promise<readonly Condition[]> {
    const before = this.conditions(found);
    const conditions = this.next(found, ending);
    this.#conditions = conditions;
    for (const condition of conditions) {
      const known = before.find(({ type }) => type === condition.type);
      if (known?.status !== condition.status) onChange(condition);
    }
    if (!ending.isActing || ending.isFenced) return conditions;
    if (!isBlind(found)) this.#observedGeneration = found.generation;
    await this.#keep(found, conditions);
    return conditions;
  }

  /** The observed generation and the conditions go in one write, and only when they changed. */
  async #keep({ stored }: Found, conditions: readonly Condition[]): Promise<void> {
    const { store, name, clock, random, storeTimeoutMs, leader, shards } = this.#settings;
    // One member speaks for the group.
    if (shards !== undefined && !shards.owns(name)) return;
    const kept = conditions.filter(({ type }) => !OF_THIS_PROCESS.has(type));
    const status = statusText({ observedGeneration: this.#observedGeneration, conditions: kept });
    // In a ledger that was lost nothing is kept, whatever we wrote once.
    const known = stored.status === undefined ? undefined : (this.#keptStatus ?? stored.status);
    if (status === known) return;
    const request = { group: name, epoch: leader?.epoch ?? 0, writes: [], status };
    const result = await storeOperation({
      clock,
      random,
      budgetMs: storeTimeoutMs,
      send: (call) => store.resources.apply(request, call),
    });
    if (result.status === "fenced") this.#onFenced();
    else this.#keptStatus = status;
  }

  #reasons(found: Found, { isPaused, isFenced }: Pick<Ending, "isPaused" | "isFenced">): ConditionReasons {
    const { composition, unknowns, desired, observed } = found;
    const failure = (of: string): string | undefined => {
      const unknown = unknowns.find((other) => other.of === of);
      return unknown && reasonOf(unknown.error);
    };
    const converged = isConverged(found);
    const isTrue = (type: string, reason: string | undefined): ConditionReasons =>
      reason === undefined ? {} : { [type]: { status: true, reason } };
    const { mode } = composition.mass;
    const unconfirmed = [
      ...(desired === "unconfirmed" ? ["desired"] : []),
      ...(observed === "unconfirmed" ? ["observe"] : []),
    ];
    return {
      Converged: { status: converged, reason: converged ? "AsDesired" : whyNotConverged(found) },
      ...isTrue("ObserveFailed", failure("observe")),
      ...isTrue("DesiredFailed", failure("desired")),
      ...isTrue("StalenessFailed", failure("staleness")),
      ...isTrue("MassStaleness", mode === "off" ? undefined : mode === "hold" ? "Held" : "Slowed"),
      ...isTrue("UnconfirmedEmpty", unconfirmed.length === 0 ? undefined : unconfirmed.join()),
      ...isTrue("Paused", isPaused ? "Paused" : undefined),
      ...isTrue("NotLeader", this.#settings.leader?.isLeader() === false ? "NotLeader" : undefined),
      ...isTrue("Fenced", isFenced ? "LaterEpoch" : undefined),
    };
  }
}

/** Whether it could not be found out what is desired or what there is. A staleness policy that fails hides neither. */
export function isBlind({ unknowns }: Found): boolean {
  return unknowns.some(({ of }) => of !== "staleness");
}

/** Whether observed equals desired, as far as both are known. */
export function isConverged({ composition, unknowns, desired, observed }: Found): boolean {
  const isKnown = desired === "complete" && (observed === "complete" || observed === "ledger") && unknowns.length === 0;
  return isKnown && composition.isSettled;
}

function whyNotConverged({ composition, unknowns, desired, observed }: Found): string {
  const [unknown] = unknowns;
  if (unknown !== undefined) return `${unknown.of}Failed`;
  if (desired === "unset") return "NothingDesiredYet";
  if (desired === "partial" || observed === "partial") return "PartialAnswer";
  return composition.held.length > 0 && composition.steps.length === 0 ? "Held" : "InProgress";
}

/** What a condition says of an error: ours in full, others by their name alone, since nobody knows what they tell. */
function reasonOf(error: unknown): string {
  if (error instanceof EvenkeelError) return error.message;
  return error instanceof Error ? error.name : typeof error;
}
