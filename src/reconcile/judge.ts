import type { ResourceRow } from "../store.ts";
import type { ActionType, HeldBy } from "./planned.ts";
import { nextReplacementAt } from "./replacement-backoff.ts";
import { isLive, type Matches, matchItems, newestOf, type ObservedItem, type Slot } from "./slot.ts";
import type { Step } from "./step.ts";

/** Why a resource ended without being asked to: what the backoff of replacements counts. */
const UNEXPECTED: ReadonlySet<string | undefined> = new Set(["HeartbeatStale", "Unhealthy", "NotObserved"]);

/** What a slot is judged by, besides itself. All moments are of the store's clock. */
export interface JudgeContext {
  readonly nowMs: number;
  readonly generation: number;
  /** From an answer that is partial, nothing is surplus. `unconfirmed`: complete, empty, and not believed yet. */
  readonly desired: AnswerKind;
  /** `ledger`: its own rows are the observation. From a partial answer, nothing is missing or gone. */
  readonly observed: AnswerKind | "ledger";
  readonly replacement: "replaceFirst" | "fenceFirst";
  readonly canUpdate: boolean;
  readonly canForce: boolean;
  readonly terminateGraceMs: number;
  readonly observeGraceMs: number;
  /** Whether a PROVISIONED row has fallen silent, or is said to be ill. */
  healthOf(row: ResourceRow, item: ObservedItem | undefined): Health;
  /** Nobody is declared dead yet, because we may have been deaf ourselves. */
  readonly graceUntil?: number;
  /** Until when an action waits after failures; `blocked`: until its desired state changes or it is woken. */
  retryOf(key: string): number | "blocked" | undefined;
  /** When a termination was accepted by the outside world, which has not been seen to have carried it out. */
  acceptedAt(key: string): number | undefined;
}

export type AnswerKind = "complete" | "partial" | "unconfirmed";

export type Health =
  | { readonly verdict: "fresh"; readonly nextCheckAt?: number }
  | {
      readonly verdict: "stale";
      readonly reason: "HeartbeatStale" | "Unhealthy";
      /** How long it was silent when that was read. */
      readonly silentForMs?: number;
    };

/** A step that a slot calls for, and what keeps it from being taken. */
export interface Proposal {
  readonly step: Step;
  /**
   * Which bounds of the whole group it falls under: those on creation, on termination, on replacing what fell silent (which the mass
   * guard watches), or on disrupting what works.
   */
  readonly kind: "create" | "terminate" | "stale" | "voluntary" | "ledger";
  readonly heldBy?: HeldBy;
  /** How often the action has failed, for those that have to be ordered by it. */
  readonly retryKey: string;
}

/** What is to be done about a slot. */
export interface Verdict {
  readonly slot: Slot;
  readonly proposals: readonly Proposal[];
  /** Nothing is to be done, and nothing is waited for. */
  readonly settled: boolean;
  /** When time alone may change the verdict. */
  readonly nextAt?: number;
  readonly drift: {
    readonly missing: number;
    readonly surplus: number;
    readonly stale: number;
    readonly outdated: number;
  };
  /** A replacement, a termination or a failure is under way: it counts against the disruption budget. */
  readonly disrupted: boolean;
}

/** Judges one slot. Pure: the same slot in the same context is judged the same. */
export function judge(slot: Slot, context: JudgeContext): Verdict {
  return new Judgement(slot, context).verdict();
}

/** The retry keys of a slot's actions. A termination is of one incarnation, the others of the slot. */
export function retryKeyOf(type: ActionType, id: string, incarnation: number, externalId = ""): string {
  switch (type) {
    case "terminate":
    case "forceTerminate":
      return `${type}/${incarnation}/${externalId}/${id}`;
    case "update":
      return `update/${id}`;
    default:
      return `create/${id}`;
  }
}

class Judgement {
  readonly #slot: Slot;
  readonly #context: JudgeContext;
  readonly #matches: Matches;
  readonly #proposals: Proposal[] = [];
  readonly #drift = { missing: 0, surplus: 0, stale: 0, outdated: 0 };
  #nextAt: number | undefined;
  #waits = false;
  #disrupted = false;

  constructor(slot: Slot, context: JudgeContext) {
    this.#slot = slot;
    this.#context = context;
    this.#matches = matchItems(slot);
  }

  verdict(): Verdict {
    const { wanted } = this.#slot;
    if (wanted !== undefined) this.#judgeWanted();
    else if (this.#context.desired === "partial") this.#judgeUnlisted();
    else this.#judgeUnwanted();
    return {
      slot: this.#slot,
      proposals: this.#proposals,
      settled: this.#proposals.length === 0 && !this.#waits,
      ...(this.#nextAt === undefined ? {} : { nextAt: this.#nextAt }),
      drift: this.#drift,
      disrupted: this.#disrupted,
    };
  }

  // ------------------------------------------------------------------------------------------------ wanted

  #judgeWanted(): void {
    const { rows } = this.#slot;
    const newest = newestOf(this.#slot);
    const zombies = this.#endZombies();
    switch (newest?.state) {
      case undefined:
        this.#createFirst();
        return;
      case "TERMINATED":
        this.#drift.missing += 1;
        this.#createAfter(newest, zombies);
        return;
      case "TERMINATING":
        // It is on its way out and never comes back: the next one waits until it is gone.
        this.#drift.missing += 1;
        this.#endTerminating(newest);
        this.#propose("create", this.#next("create", newest, "Missing"), "fence");
        break;
      case "PENDING":
        this.#createAgain(newest);
        break;
      case "FAILED":
        this.#replaceFailed(newest);
        break;
      case "PROVISIONED":
        this.#keep(newest);
        break;
    }
    for (const row of rows.slice(0, -1)) if (isLive(row)) this.#endOld(row, newest);
  }

  /** Nothing is in the ledger. */
  #createFirst(): void {
    const { id, items, wanted } = this.#slot;
    const known = [...items].sort((a, b) => (b.incarnation ?? 0) - (a.incarnation ?? 0))[0];
    if (known !== undefined) {
      const { externalId } = known;
      this.#propose("ledger", {
        type: "adopt",
        id,
        incarnation: 1,
        reason: "Observed",
        after: 0,
        ...(externalId === undefined ? {} : { externalId }),
        ...specIn(wanted),
        generation: this.#context.generation,
      });
      return;
    }
    this.#drift.missing += 1;
    this.#propose("create", this.#next("create", undefined, "Missing"), this.#absenceDoubt());
  }

  /** The newest is a tombstone. */
  #createAfter(newest: ResourceRow, zombies: boolean): void {
    const step = this.#next("create", newest, "Missing");
    if (zombies) this.#propose("create", step, "fence");
    else if (UNEXPECTED.has(newest.reason))
      this.#proposeAt("create", step, this.#replacementAt(newest, newest.stateChangedAt), this.#absenceDoubt());
    else this.#propose("create", step, this.#absenceDoubt());
  }

  #createAgain(row: ResourceRow): void {
    const { id, incarnation } = row;
    const replaces = this.#slot.rows.some((other) => other !== row && isLive(other));
    if (replaces) this.#disrupted = true;
    if (this.#isHeld(row)) return;
    const type = replaces ? "replace" : "create";
    this.#propose("create", { type, how: "again", id, incarnation, reason: row.reason ?? "Missing", row });
  }

  #replaceFailed(row: ResourceRow): void {
    this.#drift.stale += 1;
    this.#disrupted = true;
    const { id, incarnation } = row;
    if (this.#isGone(row)) {
      this.#proposeAt("stale", this.#replacing(row, row), this.#replacementAt(row, row.stateChangedAt));
    } else if (this.#context.replacement === "replaceFirst") {
      this.#proposeAt("stale", this.#replacing(row), this.#replacementAt(row, row.stateChangedAt));
    } else if (!this.#isHeld(row)) {
      const reason = row.reason ?? "Failed";
      this.#propose("terminate", { type: "terminate", id, incarnation, reason, row, again: false });
    }
  }

  /** The newest is PROVISIONED: it is well, or missing, or silent, or outdated. */
  #keep(row: ResourceRow): void {
    const { wanted } = this.#slot;
    if (this.#isMissing(row)) return;
    const item = this.#matches.byIncarnation.get(row.incarnation);
    const health = this.#context.healthOf(row, item);
    if (health.verdict === "stale") {
      this.#drift.stale += 1;
      this.#failAndReplace(row, health);
      return;
    }
    this.#look(health.nextCheckAt);
    if (row.spec === wanted?.spec) {
      if (row.leaseExpiresAt !== undefined) this.#isHeld(row);
      return;
    }
    this.#drift.outdated += 1;
    if (this.#isHeld(row)) {
      this.#disrupted = true;
      return;
    }
    const { id, incarnation } = row;
    const { canUpdate, replacement, generation } = this.#context;
    const reason = "SpecChanged";
    if (canUpdate)
      this.#propose("voluntary", { type: "update", id, incarnation, reason, row, ...specIn(wanted), generation });
    else if (replacement === "replaceFirst") this.#propose("voluntary", this.#next("replace", row, reason));
    else this.#propose("voluntary", { type: "terminate", id, incarnation, reason, row, again: false });
  }

  /** Whether a complete observation lacks the row's resource; then it is made anew. */
  #isMissing(row: ResourceRow): boolean {
    const { observed, observeGraceMs } = this.#context;
    if (observed === "ledger" || observed === "partial" || this.#matches.byIncarnation.has(row.incarnation))
      return false;
    const madeAt = row.provisionedAt ?? row.createdAt;
    const step = this.#next("create", row, "NotObserved", row);
    this.#drift.missing += 1;
    if (!this.#hasPassed(madeAt + observeGraceMs)) {
      this.#propose("create", step, "grace", madeAt + observeGraceMs);
    } else if (observed === "unconfirmed") {
      this.#propose("create", step, "unconfirmedEmpty");
    } else {
      this.#proposeAt("create", step, this.#replacementAt(row, this.#context.nowMs));
    }
    return true;
  }

  #failAndReplace(row: ResourceRow, health: Extract<Health, { verdict: "stale" }>): void {
    const { nowMs, graceUntil, replacement } = this.#context;
    const heldBy =
      graceUntil !== undefined && graceUntil > nowMs && health.reason === "HeartbeatStale" ? "grace" : undefined;
    this.#fail(row, health, "stale", heldBy);
    if (replacement !== "replaceFirst") return;
    const step = this.#next("replace", row, health.reason);
    if (heldBy !== undefined) this.#propose("stale", step, heldBy, graceUntil);
    else this.#proposeAt("stale", step, this.#replacementAt(row, nowMs));
  }

  #fail(
    row: ResourceRow,
    { reason, silentForMs }: Extract<Health, { verdict: "stale" }>,
    kind: Proposal["kind"],
    heldBy?: HeldBy,
  ): void {
    const { id, incarnation } = row;
    // A beat since it was read makes its silence shorter than it was then.
    const ifSilentForMs = silentForMs === undefined ? undefined : Math.max(0, silentForMs - 1);
    const step: Step = {
      type: "fail",
      id,
      incarnation,
      reason,
      row,
      ...(ifSilentForMs === undefined ? {} : { ifSilentForMs }),
    };
    this.#propose(kind, step, heldBy, heldBy === "grace" ? this.#context.graceUntil : undefined);
  }

  /** A predecessor of the newest row. */
  #endOld(row: ResourceRow, newest: ResourceRow): void {
    this.#disrupted = true;
    if (row.state === "TERMINATING") this.#endTerminating(row);
    else if (newest.state === "PROVISIONED")
      this.#end(row, row.reason !== undefined && row.state === "FAILED" ? row.reason : "Replaced");
    else this.#waits = true;
  }

  // -------------------------------------------------------------------------------------- unwanted, unlisted

  #judgeUnwanted(): void {
    const { rows } = this.#slot;
    const heldBy = this.#context.desired === "unconfirmed" ? "unconfirmedEmpty" : undefined;
    for (const row of rows) {
      if (!isLive(row)) continue;
      if (row.state === "TERMINATING") {
        this.#disrupted = true;
        this.#endTerminating(row);
        continue;
      }
      this.#drift.surplus += 1;
      this.#end(row, row.state === "FAILED" ? (row.reason ?? "Surplus") : "Surplus", heldBy);
    }
    this.#drift.surplus += this.#matches.strays.length;
    this.#endZombies(heldBy);
  }

  /** Of a partial answer: whether it is wanted is not known. What is on its way out goes on, and what fell silent did so. */
  #judgeUnlisted(): void {
    for (const row of this.#slot.rows) {
      if (row.state === "TERMINATING") this.#endTerminating(row);
      if (row.state !== "PROVISIONED") continue;
      const health = this.#context.healthOf(row, this.#matches.byIncarnation.get(row.incarnation));
      if (health.verdict === "fresh") {
        this.#look(health.nextCheckAt);
        continue;
      }
      const { graceUntil, nowMs } = this.#context;
      this.#drift.stale += 1;
      this.#fail(row, health, "stale", graceUntil !== undefined && graceUntil > nowMs ? "grace" : undefined);
    }
  }

  // ------------------------------------------------------------------------------------------------- ending

  /** Ends what is not on its way out yet. */
  #end(row: ResourceRow, reason: string, heldBy?: HeldBy): void {
    const { id, incarnation } = row;
    if (row.state === "PENDING") {
      if (this.#isHeld(row)) return;
      // 0: whoever tried knows that nothing was made.
      if (row.attempt === 0 || this.#isGone(row)) {
        this.#propose("ledger", { type: "drop", id, incarnation, reason, row }, heldBy);
        return;
      }
    } else if (this.#isGone(row)) {
      this.#propose("ledger", { type: "drop", id, incarnation, reason: "NotObserved", row }, heldBy);
      return;
    }
    if (this.#isHeld(row)) return;
    this.#propose("terminate", { type: "terminate", id, incarnation, reason, row, again: false }, heldBy);
  }

  #endTerminating(row: ResourceRow): void {
    const { id, incarnation } = row;
    const reason = row.reason ?? "Surplus";
    this.#waits = true;
    if (this.#isGone(row)) {
      this.#propose("ledger", { type: "drop", id, incarnation, reason, row });
      return;
    }
    if (this.#isHeld(row)) return;
    this.#endAccepted({ type: "terminate", id, incarnation, reason, row, again: false }, row.stateChangedAt);
  }

  /**
   * Resources that were terminated and are there, and those that no row knows.
   * @returns whether there is one that the next incarnation has to wait for.
   */
  #endZombies(heldBy?: HeldBy): boolean {
    const { rows } = this.#slot;
    let fence = false;
    let isAny = false;
    for (const row of rows) {
      const item = this.#matches.byIncarnation.get(row.incarnation);
      if (isLive(row) || item === undefined) continue;
      // One that can't be told from the next one must be gone before that is made, or the wrong one would be ended.
      isAny = true;
      fence ||= item.incarnation === undefined && item.externalId === undefined;
      const { id, incarnation } = row;
      this.#endAccepted({ type: "terminate", id, incarnation, reason: "Zombie", row, again: true }, undefined, heldBy);
    }
    if (rows.length > 0 || this.#slot.wanted === undefined) {
      for (const stray of this.#matches.strays) {
        isAny = true;
        this.#endAccepted({ type: "terminate", id: this.#slot.id, reason: "Zombie", ...stray }, undefined, heldBy);
      }
    }
    return fence || (isAny && this.#context.replacement === "fenceFirst");
  }

  /** Asks once, waits for the grace period, and then asks harder. */
  #endAccepted(step: Extract<Step, { type: "terminate" | "forceTerminate" }>, begunAt?: number, heldBy?: HeldBy): void {
    const { canForce, terminateGraceMs } = this.#context;
    const key = keyOf(step);
    const acceptedAt = this.#context.acceptedAt(key);
    const since = begunAt ?? acceptedAt;
    const graceEndsAt = since === undefined ? undefined : since + terminateGraceMs;
    this.#waits = true;
    if (graceEndsAt !== undefined && this.#hasPassed(graceEndsAt)) {
      this.#propose("terminate", canForce ? { ...step, type: "forceTerminate" } : step, heldBy);
      return;
    }
    if (canForce || acceptedAt !== undefined) this.#look(graceEndsAt);
    if (acceptedAt === undefined) this.#propose("terminate", step, heldBy);
  }

  // ------------------------------------------------------------------------------------------------ building

  #next(type: "create" | "replace", newest: ResourceRow | undefined, reason: string, gone?: ResourceRow): Step {
    const after = newest?.incarnation ?? 0;
    return {
      type,
      how: "next",
      id: this.#slot.id,
      incarnation: after + 1,
      reason,
      after,
      ...(gone === undefined ? {} : { gone }),
      ...specIn(this.#slot.wanted),
      generation: this.#context.generation,
    };
  }

  #replacing(row: ResourceRow, gone?: ResourceRow): Step {
    return this.#next("replace", row, row.reason ?? "Failed", gone);
  }

  /** Proposes a step that has to wait for a moment of its own. */
  #proposeAt(kind: Proposal["kind"], step: Step, at: number, heldBy?: HeldBy): void {
    if (heldBy === undefined && !this.#hasPassed(at)) this.#propose(kind, step, "backoff", at);
    else this.#propose(kind, step, heldBy);
  }

  #propose(kind: Proposal["kind"], step: Step, heldBy?: HeldBy, until?: number): void {
    const retryKey = keyOf(step);
    const retryAt =
      step.type === "fail" || step.type === "drop" || step.type === "adopt"
        ? undefined
        : this.#context.retryOf(retryKey);
    if (heldBy === undefined && retryAt === "blocked") {
      this.#proposals.push({ step, kind, retryKey, heldBy: "backoff" });
    } else if (heldBy === undefined && retryAt !== undefined && retryAt !== "blocked" && !this.#hasPassed(retryAt)) {
      this.#look(retryAt);
      this.#proposals.push({ step, kind, retryKey, heldBy: "backoff" });
    } else {
      this.#look(until);
      this.#proposals.push({ step, kind, retryKey, ...(heldBy === undefined ? {} : { heldBy }) });
    }
  }

  #look(at: number | undefined): void {
    if (at !== undefined) this.#nextAt = Math.min(at, this.#nextAt ?? Number.POSITIVE_INFINITY);
  }

  #hasPassed(at: number): boolean {
    return this.#context.nowMs >= at;
  }

  /** Whether somebody acts on the row. */
  #isHeld({ leaseExpiresAt }: ResourceRow): boolean {
    if (leaseExpiresAt === undefined || this.#hasPassed(leaseExpiresAt)) return false;
    this.#waits = true;
    this.#look(leaseExpiresAt);
    return true;
  }

  /** Whether a complete observation lacks it, and did not just fail to show it yet. */
  #isGone(row: ResourceRow): boolean {
    if (this.#context.observed !== "complete" || this.#matches.byIncarnation.has(row.incarnation)) return false;
    return this.#hasPassed((row.provisionedAt ?? row.createdAt) + this.#context.observeGraceMs);
  }

  /** What keeps us from taking a resource for absent that the ledger has no row of. */
  #absenceDoubt(): HeldBy | undefined {
    switch (this.#context.observed) {
      case "partial":
        return "unknown";
      case "unconfirmed":
        return "unconfirmedEmpty";
      default:
        return undefined;
    }
  }

  #replacementAt(row: ResourceRow, failedAt: number): number {
    const previous = this.#slot.rows
      .filter(({ incarnation }) => incarnation < row.incarnation)
      .reverse()
      .map((older) => ({
        ...(older.provisionedAt === undefined ? {} : { provisionedAt: older.provisionedAt }),
        endedAt: older.stateChangedAt,
        unexpected: UNEXPECTED.has(older.reason),
      }));
    return nextReplacementAt({
      id: row.id,
      incarnation: row.incarnation,
      failedAt,
      ...(row.provisionedAt === undefined ? {} : { provisionedAt: row.provisionedAt }),
      previous,
    });
  }
}

function keyOf(step: Step): string {
  const externalId = "externalId" in step ? step.externalId : undefined;
  return retryKeyOf(step.type, step.id, step.incarnation, externalId);
}

function specIn(wanted: Slot["wanted"]): { readonly spec?: string } {
  return wanted?.spec === undefined ? {} : { spec: wanted.spec };
}
