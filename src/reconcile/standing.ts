import { storeOperation } from "../store-operation.ts";
import {
  type ConditionReasons,
  type GroupStatus,
  hasConverged,
  holds,
  nextConditions,
  statusOf,
  statusText,
} from "./conditions.ts";
import { errorText } from "./error-name.ts";
import { type Found, isBlind } from "./found.ts";
import type { Condition } from "./planned.ts";
import type { GroupStanding } from "./reconciler-status.ts";
import type { ReconcilerSettings } from "./settings.ts";

/** Conditions of this process alone, which say nothing of the group. */
const OF_THIS_PROCESS: ReadonlySet<string> = new Set(["NotLeader", "Fenced", "Paused"]);
const isOfGroup = ({ type }: Condition): boolean => !OF_THIS_PROCESS.has(type);

/** How things stood at the end of a pass, besides what it found. */
export interface Ending {
  readonly isPaused: boolean;
  /** A later leader was there. */
  readonly isFenced: boolean;
  /** The pass was allowed to act. */
  readonly isActing: boolean;
  /** Of the leadership that the pass began under, if there was one. */
  readonly epoch: number | undefined;
}

/** Says how the group stands: here, and where that is news, in the ledger. */
export class Standing<Spec> {
  readonly #settings: ReconcilerSettings<Spec>;
  readonly #onFenced: () => void;
  /** What the last pass concluded, and under which epoch. */
  #concluded: { readonly conditions: readonly Condition[]; readonly epoch: number | undefined } | undefined;
  /** Those of this process, which may have changed since. */
  #own: readonly Condition[] = [];
  #observedGeneration = 0;

  /** @param onFenced - called when a later leader kept the status out of the ledger. */
  constructor(settings: ReconcilerSettings<Spec>, onFenced: () => void) {
    this.#settings = settings;
    this.#onFenced = onFenced;
  }

  /** How it stands now. Who follows takes what the leader said. */
  status(found: Found, ending: Pick<Ending, "isPaused">): GroupStanding {
    const conditions = this.#conditions(found, ending);
    const observedGeneration = this.#observedByAll(found);
    const converged = this.#isFollowing
      ? hasConverged({ observedGeneration, conditions }, found.generation)
      : isConverged(found) && !holds(conditions, "ObserveFailed") && !holds(conditions, "DesiredFailed");
    return {
      generation: found.generation,
      observedGeneration,
      desired: found.wanted,
      observed: { ...found.states },
      drift: found.composition.drift,
      converged,
      conditions: [...conditions],
    };
  }

  /** Another leads, whose word on the group is in the ledger. */
  get #isFollowing(): boolean {
    return this.#settings.leader?.isLeader() === false;
  }

  /** Of the group those of the last pass, by whoever leads; of this process those of this moment. */
  #conditions(found: Pick<Found, "stored">, { isPaused }: Pick<Ending, "isPaused">): readonly Condition[] {
    const isFenced = holds(this.#own, "Fenced");
    this.#own = this.#ownNext({ isPaused, isFenced });
    return inOrder([...this.#ofGroup(found), ...this.#own]);
  }

  /** From now on the ledger says how the group stands, until a pass concludes something else. */
  forgetConcluded(): void {
    this.#concluded = undefined;
  }

  /** Whether the last pass here could not find out what is desired or what there is. */
  get isBlind(): boolean {
    const blind = ["ObserveFailed", "DesiredFailed"];
    return this.#concluded?.conditions.some(({ type, status }) => status && blind.includes(type)) ?? false;
  }

  /** The generation that a pass acted on last, here or elsewhere. */
  #observedByAll({ stored }: Pick<Found, "stored">): number {
    return Math.max(statusOf(stored.status).observedGeneration, this.#observedGeneration);
  }

  /** What the conditions would be after a pass that found this. */
  next(found: Found, ending: Pick<Ending, "isPaused" | "isFenced">): Condition[] {
    const group = nextConditions(this.#ofGroup(found), this.#reasons(found), this.#settings.clock.now());
    return inOrder([...group, ...this.#ownNext(ending)]);
  }

  /** Who begins to lead goes on from what the one before left. */
  #ofGroup({ stored }: Pick<Found, "stored">): readonly Condition[] {
    const { leader } = this.#settings;
    const concluded = this.#concluded;
    const isOurs = leader === undefined || (!this.#isFollowing && leader.epoch === concluded?.epoch);
    if (concluded !== undefined && isOurs) return concluded.conditions.filter(isOfGroup);
    return statusOf(stored.status).conditions;
  }

  #ownNext({ isPaused, isFenced }: Pick<Ending, "isPaused" | "isFenced">): Condition[] {
    const reasons = {
      ...isTrue("Paused", isPaused ? "Paused" : undefined),
      ...isTrue("NotLeader", this.#isFollowing ? "NotLeader" : undefined),
      ...isTrue("Fenced", isFenced ? "LaterEpoch" : undefined),
    };
    return nextConditions(this.#own, reasons, this.#settings.clock.now());
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
    const before = this.#concluded?.conditions ?? [...statusOf(found.stored.status).conditions, ...this.#own];
    const conditions = this.next(found, ending);
    this.#concluded = { conditions, epoch: ending.epoch };
    this.#own = conditions.filter((condition) => !isOfGroup(condition));
    for (const condition of conditions) {
      const known = before.find(({ type }) => type === condition.type);
      if (known?.status !== condition.status) onChange(condition);
    }
    if (!ending.isActing || ending.isFenced) return conditions;
    if (!isBlind(found)) this.#observedGeneration = found.generation;
    await this.#keep(found, conditions, ending);
    return conditions;
  }

  /** The observed generation and the conditions go in one write, and only when they changed. */
  async #keep({ stored }: Found, conditions: readonly Condition[], { epoch = 0 }: Ending): Promise<void> {
    const { store, name, clock, random, storeTimeoutMs, shards } = this.#settings;
    // One member speaks for the group.
    if (shards !== undefined && !shards.owns(name)) return;
    const known = statusOf(stored.status);
    // Who could not look keeps what another had seen.
    const observedGeneration = Math.max(known.observedGeneration, this.#observedGeneration);
    const word = { observedGeneration, conditions: conditions.filter(isOfGroup) };
    // Also what another wrote may say it; two who agree would take turns for ever over when it began.
    if (stored.status !== undefined && isSameWord(word, known)) return;
    const status = statusText(word);
    const request = { group: name, epoch, writes: [], status };
    const result = await storeOperation({
      clock,
      random,
      budgetMs: storeTimeoutMs,
      send: (call) => store.resources.apply(request, call),
    });
    if (result.status === "fenced") this.#onFenced();
  }

  #reasons(found: Found): ConditionReasons {
    const { composition, unknowns, desired, observed } = found;
    const failure = (of: string): string | undefined => {
      const unknown = unknowns.find((other) => other.of === of);
      return unknown && errorText(unknown.error);
    };
    const converged = isConverged(found);
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
      ...isTrue("SurplusFailed", failure("surplus")),
      ...isTrue("MassStaleness", mode === "off" ? undefined : mode === "hold" ? "Held" : "Slowed"),
      ...isTrue("UnconfirmedEmpty", unconfirmed.length === 0 ? undefined : unconfirmed.join()),
    };
  }
}

function isTrue(type: string, reason: string | undefined): ConditionReasons {
  return reason === undefined ? {} : { [type]: { status: true, reason } };
}

function inOrder(conditions: readonly Condition[]): Condition[] {
  return conditions.toSorted((a, b) => (a.type < b.type ? -1 : 1));
}

/** Whether two say the same of the group, whenever it became so. */
function isSameWord(a: GroupStatus, b: GroupStatus): boolean {
  const textOf = ({ observedGeneration, conditions }: GroupStatus) =>
    JSON.stringify([observedGeneration, conditions.map(({ type, status, reason }) => [type, status, reason])]);
  return textOf(a) === textOf(b);
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
