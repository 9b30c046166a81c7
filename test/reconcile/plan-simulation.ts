import { expect } from "vitest";
import { judge } from "../../src/reconcile/judge.ts";
import type { MassGuardSettings } from "../../src/reconcile/mass-guard.ts";
import { type Composition, compose } from "../../src/reconcile/plan.ts";
import { Retries, recordRetry } from "../../src/reconcile/retries.ts";
import { isLive, type ObservedItem, type Slot } from "../../src/reconcile/slot.ts";
import type { Step, StepOutcome } from "../../src/reconcile/step.ts";
import type { Health, JudgeContext, Verdict } from "../../src/reconcile/verdict.ts";
import { TerminalError } from "../../src/resources/action-errors.ts";
import { assertTransition } from "../../src/resources/resource-state.ts";
import type { ResourceRow } from "../../src/store.ts";
import { seededRandom } from "../../src/testing/index.ts";

const LEASE_MS = 30_000;
const STALE_MS = 30_000;
const STARTUP_MS = 60_000;
const OBSERVE_GRACE_MS = 30_000;
const TERMINATE_GRACE_MS = 30_000;
const RESYNC_MS = 60_000;
const SILENCE: ReadonlySet<string | undefined> = new Set(["HeartbeatStale", "Unhealthy"]);

/** What the simulated reconciler is like. */
export interface SimulationTerms {
  /** `ledger`, or what the items of an own `observe` say of themselves. */
  readonly observe: "ledger" | "incarnation" | "externalId" | "nameless";
  /** How much later than it happens `observe` shows anything. */
  readonly lagMs: number;
  readonly replacement: JudgeContext["replacement"];
  readonly canUpdate: boolean;
  readonly canForce: boolean;
  readonly massGuard: MassGuardSettings | false;
}

/**
 * What goes wrong with a step. `…Done`: the callback had its effect all the same. `crash`: the process dies in the callback, its leases
 * stay and its memory goes. `ignored`: an end is accepted and not carried out, where an own `observe` sees that.
 */
export type StepFault =
  | "none"
  | "throws"
  | "throwsDone"
  | "timesOut"
  | "timesOutDone"
  | "terminal"
  | "lost"
  | "crash"
  | "crashDone"
  | "ignored";

/** What happens between two passes. */
export type Happening =
  | { readonly type: "passes"; readonly ms: number }
  | { readonly type: "desire"; readonly count: number; readonly spec: string }
  | { readonly type: "silence" | "vanish"; readonly index: number }
  | {
      readonly type: "answers";
      readonly observed: "complete" | "partial" | "unconfirmed";
      readonly desired: "complete" | "partial";
    };

interface Resource {
  readonly id: string;
  readonly incarnation: number;
  readonly externalId: string;
  readonly madeAt: number;
  spec: string | undefined;
  isSilent: boolean;
  lastBeatAt: number;
}

class Crash extends Error {}

/** A fleet, a ledger, and a reconciler that looks at both and does what is planned, in virtual time. */
export class Simulation {
  nowMs = 1_000_000;
  readonly #terms: SimulationTerms;
  readonly #rows = new Map<string, ResourceRow[]>();
  readonly #fleet = new Map<string, Resource>();
  readonly #gone: { readonly resource: Resource; readonly at: number }[] = [];
  readonly #made = new Map<string, string>();
  #wanted = new Map<string, string>();
  #generation = 0;
  #retries = new Retries(seededRandom(1));
  #answers: Extract<Happening, { type: "answers" }> = { type: "answers", observed: "complete", desired: "complete" };
  #faults: StepFault[] = [];

  constructor(terms: SimulationTerms) {
    this.#terms = terms;
  }

  happen(happening: Happening): void {
    switch (happening.type) {
      case "passes":
        this.#advance(happening.ms);
        return;
      case "desire":
        this.#generation += 1;
        this.#wanted = new Map(Array.from({ length: happening.count }, (_, n) => [`web-${n}`, happening.spec]));
        return;
      case "answers":
        this.#answers = happening;
        return;
      default: {
        const resource = [...this.#fleet.values()][happening.index];
        if (resource === undefined) return;
        resource.isSilent = true;
        if (happening.type === "vanish") this.#remove(resource);
      }
    }
  }

  /** One look, and what follows from it; a fault for each step, while there are any. */
  async pass(faults: readonly StepFault[] = []): Promise<Composition> {
    this.#faults = [...faults];
    return this.#act(false);
  }

  /** No faults any more: how it ends, in so many passes at most. */
  async settle(most: number): Promise<void> {
    this.#answers = { type: "answers", observed: "complete", desired: "complete" };
    this.#retries.wake();
    this.#faults = [];
    for (let passes = 0; passes < most; passes += 1) {
      const approved = this.#terms.massGuard !== false && (await this.#compose(false)).mass.mode === "hold";
      const { steps, nextAt, isSettled, held } = await this.#act(approved);
      if (steps.length > 0) this.#advance(1);
      else if (isSettled && this.#isQuiet()) return;
      else {
        // Nothing but a change in what is observed may have to be looked for.
        const resyncAt = this.#terms.observe === "ledger" ? Infinity : this.nowMs + RESYNC_MS;
        const at = Math.min(nextAt ?? Infinity, resyncAt);
        expect(at, `nothing is waited for, and it is not settled: ${JSON.stringify(held)}`).toBeLessThan(Infinity);
        expect(at).toBeGreaterThan(this.nowMs);
        this.#advance(at - this.nowMs);
      }
    }
    throw new Error(`not settled after ${most} passes: ${JSON.stringify(await this.#compose(false))}`);
  }

  /** What runs, as `id spec`. */
  running(): string[] {
    return [...this.#fleet.values()].map(({ id, spec }) => `${id} ${spec}`).sort();
  }

  /** What is to run. */
  wanted(): string[] {
    return [...this.#wanted].map(([id, spec]) => `${id} ${spec}`).sort();
  }

  resync(): Promise<Composition> {
    this.#advance(300_000);
    return this.#act(false);
  }

  // ------------------------------------------------------------------------------------------------- time

  #advance(ms: number): void {
    this.nowMs += ms;
    for (const resource of this.#fleet.values()) if (!resource.isSilent) resource.lastBeatAt = this.nowMs;
  }

  /** Whether no silence is still to be found out, nor anything that happened to be shown. */
  #isQuiet(): boolean {
    const silent = [...this.#rows.values()]
      .flat()
      .some(({ state, externalId = "" }) => state === "PROVISIONED" && this.#fleet.get(externalId)?.isSilent !== false);
    const isNews = this.#terms.observe !== "ledger" && this.#gone.some(({ at }) => at + this.#terms.lagMs > this.nowMs);

    return !silent && !isNews;
  }

  // ------------------------------------------------------------------------------------------------ looking

  #items(id: string): readonly ObservedItem[] {
    const { observe, lagMs } = this.#terms;
    if (observe === "ledger" || this.#answers.observed === "unconfirmed") return [];
    const shownAt = this.nowMs - lagMs;
    const there = [
      ...this.#fleet.values(),
      ...this.#gone.filter(({ at }) => at > shownAt).map(({ resource }) => resource),
    ];
    const shown = there.filter((resource) => resource.id === id && resource.madeAt <= shownAt);
    const items = shown.map(({ incarnation, externalId }) => ({
      id,
      ...(observe === "incarnation" ? { incarnation } : {}),
      ...(observe === "externalId" ? { externalId } : {}),
    }));
    if (observe === "nameless") return items.slice(0, 1);
    return this.#answers.observed === "partial" ? items.slice(1) : items;
  }

  #slots(): Slot[] {
    const ids = new Set([
      ...this.#rows.keys(),
      ...this.#wanted.keys(),
      ...[...this.#fleet.values()].map(({ id }) => id),
    ]);
    const isPartial = this.#answers.desired === "partial";
    return [...ids].map((id) => {
      const spec = this.#wanted.get(id);
      const isWanted = this.#wanted.has(id) && !(isPartial && id === "web-0");
      return {
        id,
        rows: this.#rows.get(id) ?? [],
        items: this.#items(id),
        ...(isWanted ? { wanted: spec === undefined ? {} : { spec } } : {}),
      };
    });
  }

  #healthOf({ externalId = "", provisionedAt = 0, readAt }: ResourceRow): Health {
    const beatAt = this.#fleet.get(externalId)?.lastBeatAt ?? this.#lastBeatOf(externalId);
    const deadline = beatAt === undefined || beatAt <= provisionedAt ? provisionedAt + STARTUP_MS : beatAt + STALE_MS;
    if (this.nowMs <= deadline) return { verdict: "fresh", nextCheckAt: deadline + 1 };
    return { verdict: "stale", reason: "HeartbeatStale", silentForMs: this.nowMs - readAt };
  }

  #lastBeatOf(externalId: string): number | undefined {
    return this.#gone.findLast(({ resource }) => resource.externalId === externalId)?.resource.lastBeatAt;
  }

  #context(): JudgeContext {
    const { observe, replacement, canUpdate, canForce } = this.#terms;
    return {
      nowMs: this.nowMs,
      generation: this.#generation,
      desired: this.#answers.desired,
      observed: observe === "ledger" ? "ledger" : this.#answers.observed,
      replacement,
      canUpdate,
      canForce,
      terminateGraceMs: TERMINATE_GRACE_MS,
      observeGraceMs: OBSERVE_GRACE_MS,
      healthOf: (row) => this.#healthOf(row),
      retryOf: (key) => this.#retries.retryOf(key, { generation: this.#generation, nowMs: this.nowMs }),
      acceptedAt: (key) => this.#retries.acceptedAt(key, this.nowMs),
    };
  }

  async #compose(isApproved: boolean): Promise<Composition> {
    const rows = [...this.#rows.values()].flat();
    const replaced = rows.filter((row) => row.incarnation > 1 && SILENCE.has(row.reason) && isLive(row));
    const lastAt = Math.max(...replaced.map(({ createdAt }) => createdAt));
    const verdicts: Verdict[] = this.#slots().map((slot) => judge(slot, this.#context()));
    const creationAt = this.#retries.creationAt(this.nowMs);
    // Settled slots fall silent some time: what the index of silence is for.
    const silenceAt = Math.min(...verdicts.filter(({ settled }) => settled).map(({ nextAt = Infinity }) => nextAt));
    const composition = await compose(verdicts, {
      nowMs: this.nowMs,
      generation: this.#generation,
      owns: () => true,
      isApproved,
      massGuard: this.#terms.massGuard,
      live: [...this.#rows.values()].filter((one) => one.some(isLive)).length,
      justReplaced: new Set(replaced.filter(({ createdAt }) => createdAt > this.nowMs - STALE_MS).map(({ id }) => id)),
      ...(replaced.length === 0 ? {} : { lastReplacementAt: lastAt }),
      maxUnavailable: "10%",
      desired: this.#wanted.size,
      maxActions: 500,
      failuresOf: (key) => this.#retries.failuresOf(key),
      ...(creationAt === undefined ? {} : { creationAt }),
    });
    return { ...composition, nextAt: Math.min(silenceAt, composition.nextAt ?? Infinity) };
  }

  // ------------------------------------------------------------------------------------------------- acting

  async #act(isApproved: boolean): Promise<Composition> {
    const composition = await this.#compose(isApproved);
    const creations: StepOutcome[] = [];
    try {
      for (const step of composition.steps) {
        const outcome = this.#execute(step, this.#faults.shift() ?? "none");
        const { nowMs } = this;
        const terms = { nowMs, generation: this.#generation, terminateGraceMs: TERMINATE_GRACE_MS };
        recordRetry(this.#retries, outcome, terms);
        if ("how" in step) creations.push(outcome);
      }
      if (creations.some(({ result }) => result === "done")) this.#retries.creationsAnew();
      if (creations.some(({ result }) => result === "failed")) this.#retries.creationsFailed(this.nowMs);
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      this.#retries = new Retries(seededRandom(1));
    }
    return composition;
  }

  #execute(step: Step, fault: StepFault): StepOutcome {
    if (fault === "lost") return { step, result: "lost" };
    switch (step.type) {
      case "create":
      case "replace":
        return this.#create(step, fault);
      case "update":
        return this.#update(step, fault);
      case "fail":
        return this.#written(step, this.#write(step.row, { state: "FAILED", reason: step.reason }));
      case "drop":
        return this.#written(step, this.#write(step.row, { state: "TERMINATED", reason: step.reason }));
      case "adopt":
        return this.#written(step, this.#add(step, "PROVISIONED"));
      default:
        return this.#terminate(step, fault);
    }
  }

  #create(step: Extract<Step, { how: string }>, fault: StepFault): StepOutcome {
    const { id } = step;
    let pending: ResourceRow | undefined;
    if (step.how === "again") {
      pending = this.#write(step.row, { attempt: step.row.attempt + 1, leaseExpiresAt: this.nowMs + LEASE_MS });
    } else {
      if (step.gone !== undefined && this.#write(step.gone, { state: "TERMINATED", reason: step.reason }) === undefined)
        return { step, result: "lost" };
      pending = this.#add(step, "PENDING");
    }
    if (pending === undefined) return { step, result: "lost" };
    const { incarnation, spec } = pending;
    const key = `${id}/${incarnation}`;
    const isDone = fault === "none" || fault === "ignored" || fault.endsWith("Done");
    if (isDone && !this.#made.has(key)) {
      if (this.#terms.replacement === "fenceFirst")
        expect(
          [...this.#fleet.values()].filter((other) => other.id === id),
          "a second incarnation",
        ).toEqual([]);
      const externalId = `x${this.#made.size}`;
      this.#made.set(key, externalId);
      const resource = {
        id,
        incarnation,
        externalId,
        madeAt: this.nowMs,
        spec,
        isSilent: false,
        lastBeatAt: this.nowMs,
      };
      this.#fleet.set(externalId, resource);
    }
    if (fault.startsWith("crash")) throw new Crash();
    if (fault === "none" || fault === "ignored") {
      const externalId = this.#made.get(key) ?? "";
      return this.#written(
        step,
        this.#free(pending, { state: "PROVISIONED", attempt: 0, externalId, provisionedAt: this.nowMs }),
      );
    }
    const error = fault === "terminal" ? new TerminalError("no") : new Error("failed");
    if (fault.startsWith("timesOut")) return { step, result: "failed", error, timedOut: true, row: pending };
    const row = this.#free(pending, fault === "terminal" && !this.#made.has(key) ? { attempt: 0 } : {});
    return { step, result: "failed", error, ...(row === undefined ? {} : { row }) };
  }

  #update(step: Extract<Step, { type: "update" }>, fault: StepFault): StepOutcome {
    const leaseExpiresAt = this.nowMs + LEASE_MS;
    const held = this.#write(step.row, { attempt: step.row.attempt + 1, reason: step.reason, leaseExpiresAt });
    if (held === undefined) return { step, result: "lost" };
    const resource = this.#fleet.get(held.externalId ?? "");
    if (resource !== undefined && (fault === "none" || fault.endsWith("Done"))) resource.spec = step.spec;
    if (fault.startsWith("crash")) throw new Crash();
    if (fault !== "none")
      return { step, result: "failed", error: new Error("failed"), row: this.#free(held, {}) as ResourceRow };
    const { spec = "", generation } = step;
    return this.#written(step, this.#free(held, { spec, generation, attempt: 0 }));
  }

  #terminate(step: Extract<Step, { type: "terminate" | "forceTerminate" }>, fault: StepFault): StepOutcome {
    let held: ResourceRow | undefined;
    if (step.row !== undefined) {
      const state = step.again ? step.row.state : "TERMINATING";
      const { reason = step.reason } =
        step.row.state === "FAILED" || step.row.state === "TERMINATING" ? step.row : step;
      held = this.#write(step.row, { state, reason, attempt: 1, leaseExpiresAt: this.nowMs + LEASE_MS });
      if (held === undefined) return { step, result: "lost" };
    }
    const { id, incarnation } = step;
    const isOwn = this.#terms.observe !== "ledger";
    // Of two that nobody can tell apart, nobody can see that the one is there still.
    const isSeen = isOwn && this.#terms.observe !== "nameless";
    const isIgnored = fault === "ignored" && isSeen && step.type === "terminate";
    if ((fault === "none" || fault === "ignored" || fault.endsWith("Done")) && !isIgnored) {
      const externalId = step.row === undefined ? step.externalId : this.#made.get(`${id}/${incarnation}`);
      for (const resource of this.#fleet.values()) {
        const isIt =
          externalId === undefined
            ? resource.id === id && resource.incarnation === incarnation
            : resource.externalId === externalId;
        if (isIt) this.#remove(resource);
      }
    }
    if (fault.startsWith("crash")) throw new Crash();
    const isFailed = fault !== "none" && fault !== "ignored";
    if (held === undefined)
      return isFailed ? { step, result: "failed", error: new Error("failed") } : { step, result: "done" };
    if (isFailed)
      return { step, result: "failed", error: new Error("failed"), row: this.#free(held, {}) as ResourceRow };
    return this.#written(step, this.#free(held, isOwn ? {} : { state: "TERMINATED" }));
  }

  #remove(resource: Resource): void {
    this.#fleet.delete(resource.externalId);
    this.#gone.push({ resource, at: this.nowMs });
  }

  // ------------------------------------------------------------------------------------------------- ledger

  #written(step: Step, row: ResourceRow | undefined): StepOutcome {
    return row === undefined ? { step, result: "lost" } : { step, result: "done", row };
  }

  #add(step: Extract<Step, { after: number }>, state: "PENDING" | "PROVISIONED"): ResourceRow | undefined {
    const rows = this.#rows.get(step.id) ?? [];
    if ((rows.at(-1)?.incarnation ?? 0) !== step.after) return undefined;
    assertTransition(undefined, state);
    const { nowMs } = this;
    const { id, reason, generation, spec } = step;
    const row: ResourceRow = {
      group: "web",
      id,
      incarnation: step.after + 1,
      state,
      ...(spec === undefined ? {} : { spec }),
      generation,
      reason,
      attempt: state === "PENDING" ? 1 : 0,
      fencingToken: 1,
      createdAt: nowMs,
      stateChangedAt: nowMs,
      ...(state === "PENDING" ? { leaseExpiresAt: nowMs + LEASE_MS } : { provisionedAt: nowMs }),
      ...(step.type === "adopt" && step.externalId !== undefined ? { externalId: step.externalId } : {}),
      version: 1,
      readAt: nowMs,
    };
    this.#rows.set(id, [...rows, row]);
    return row;
  }

  /** A compare-and-swap. */
  #write(read: ResourceRow, change: Partial<ResourceRow>): ResourceRow | undefined {
    const rows = this.#rows.get(read.id) ?? [];
    const known = rows.find(({ incarnation }) => incarnation === read.incarnation);
    if (known === undefined || known.version !== read.version) return undefined;
    const row = { ...known, ...change, version: known.version + 1, readAt: this.nowMs };
    assertTransition(known.state, row.state);
    if (row.state !== known.state) Object.assign(row, { stateChangedAt: this.nowMs });
    this.#rows.set(
      read.id,
      rows.map((one) => (one === known ? row : one)),
    );
    return row;
  }

  #free(held: ResourceRow, change: Partial<ResourceRow>): ResourceRow | undefined {
    const row = this.#write(held, change);
    if (row === undefined) return undefined;
    const { leaseExpiresAt: _lease, ...free } = row;
    const rows = this.#rows.get(row.id) ?? [];
    this.#rows.set(
      row.id,
      rows.map((one) => (one === row ? free : one)),
    );
    return free;
  }
}
