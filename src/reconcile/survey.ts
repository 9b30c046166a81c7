import { Stopwatch } from "../clock.ts";
import { EvenkeelError } from "../errors.ts";
import { makeNonce } from "../random.ts";
import { type DesiredSet, desiredOfText, desiredTextOf } from "../resources/desired-text.ts";
import type { DesiredState } from "../store.ts";
import { storeOperation } from "../store-operation.ts";
import { type Answer, askDesired, askObserved } from "./answers.ts";
import { type AnswerKind, type JudgeContext, judge, type Verdict } from "./judge.ts";
import { LedgerReader, PAGE } from "./ledger-reader.ts";
import { LedgerView } from "./ledger-view.ts";
import type { ObservedResource, PassContext } from "./observation.ts";
import { type Composition, compose } from "./plan.ts";
import type { HeldBy } from "./planned.ts";
import type { Retries } from "./retries.ts";
import type { ReconcilerSettings } from "./settings.ts";
import { StalenessWatch } from "./staleness-watch.ts";

/** From so many live slots on, an empty answer that would touch them all is not believed at once. */
const EMPTY_GUARD_ROWS = 10;
/** How long the ledger keeps a tombstone: as long as a zombie may come back to be recognised. */
export const TOMBSTONE_MS = 3_600_000;

/** How a look is to be taken. */
export interface LookTerms {
  /** A `dry` look writes nothing and confirms nothing. */
  readonly mode: "dry" | "real";
  readonly context: PassContext;
  /** What keeps this process from acting at all. */
  readonly blockedBy?: HeldBy;
  /** For how long yet nobody is declared dead, in milliseconds; asked at each judgement. Defaults to 0. */
  readonly graceLeftMs?: () => number;
  readonly isApproved: boolean;
}

/** Something that could not be found out. */
export interface Unknown {
  readonly of: "observe" | "desired" | "staleness";
  readonly error: unknown;
}

/** What a look found. */
export interface Found {
  readonly composition: Composition;
  readonly generation: number;
  readonly stored: DesiredState;
  readonly unknowns: readonly Unknown[];
  readonly desired: AnswerKind | "unset";
  readonly observed: AnswerKind | "ledger";
  /** The desired state could not be kept in the ledger, because a later leader was there. */
  readonly isFenced: boolean;
  /** When the next row may fall silent, by the store's clock. */
  readonly silenceAt?: number;
}

/** Finds out what is desired, observed and in the ledger, and what follows from that. Acts on nothing. */
export class Survey<Spec> {
  readonly view: LedgerView;
  readonly reader: LedgerReader;
  readonly #settings: ReconcilerSettings<Spec>;
  readonly #retries: Retries;
  readonly #isBusy: (id: string) => boolean;
  readonly #watch: StalenessWatch;
  /** One look at a time changes the view. */
  #turn: Promise<unknown> = Promise.resolve();
  #desiredText: string | undefined;
  #desiredSet: DesiredSet | undefined;
  #desiredKind: AnswerKind | "unset" = "unset";
  #observedKind: AnswerKind | "ledger";
  /** Since the last observation was asked for. */
  #asked: Stopwatch | undefined;
  #generation = 0;
  /** The last complete answer was empty, and not believed. */
  #emptyOnce = { desired: false, observe: false };
  #bringsBeats = false;

  constructor(settings: ReconcilerSettings<Spec>, retries: Retries, isBusy: (id: string) => boolean) {
    this.#settings = settings;
    this.#retries = retries;
    this.#isBusy = isBusy;
    this.#observedKind = settings.observe === undefined ? "ledger" : "partial";
    this.view = new LedgerView(settings.name);
    this.reader = new LedgerReader(settings as ReconcilerSettings<unknown>);
    this.#watch = new StalenessWatch(settings.staleness);
  }

  /** A whole look: asks the callbacks, then the ledger, in this order, so that no resource is older than its row. */
  async look(terms: LookTerms): Promise<Found> {
    const { desired, observe, clock } = this.#settings;
    const asked = new Stopwatch(clock);
    const [wanted, seen] = await Promise.all([
      desired && askDesired(this.#settings, terms.context),
      observe && askObserved(this.#settings, terms.context),
    ]);
    return this.#inTurn(async () => {
      const stored = await this.reader.desired();
      const { view } = this;
      await view.refresh((cursor) => this.reader.changedSince(cursor), PAGE);
      await this.#forgetTombstones(terms);
      const unknowns: Unknown[] = [];
      const isFenced = await this.#takeDesired(wanted, stored, terms, unknowns);
      if (seen !== undefined && seen.kind !== "unknown") this.#asked = asked;
      await this.#takeObserved(seen, terms, unknowns);
      const silent = await this.#watch.refresh(this.reader, view, this.reader.now(), this.#bringsBeats);
      for (const id of silent) view.touch(id);
      if (view.dirtyCount > 0) await this.reader.lookAtClock();
      const blockedBy = terms.blockedBy ?? (unknowns.length > 0 ? "unknown" : isFenced ? "notLeader" : undefined);
      const composition = await this.#compose({ ...terms, ...(blockedBy === undefined ? {} : { blockedBy }) });
      if (this.#watch.failure !== undefined) unknowns.push({ of: "staleness", error: this.#watch.failure });
      return this.#found(composition, stored, unknowns, isFenced);
    });
  }

  /** What follows now from the answers that the last look got. */
  review(terms: LookTerms, { stored, unknowns, isFenced }: Found): Promise<Found> {
    return this.#inTurn(async () => {
      const isUnknown = unknowns.some(({ of }) => of !== "staleness");
      const blockedBy = terms.blockedBy ?? (isUnknown ? "unknown" : isFenced ? "notLeader" : undefined);
      const composition = await this.#compose({ ...terms, ...(blockedBy === undefined ? {} : { blockedBy }) });
      return this.#found(composition, stored, unknowns, isFenced);
    });
  }

  /** What the ledger says, beside the answers that the last look got. */
  reread(terms: LookTerms): Promise<Found> {
    return this.#inTurn(async () => {
      const stored = await this.reader.desired();
      await this.view.refresh((cursor) => this.reader.changedSince(cursor), PAGE);
      if (this.#settings.desired === undefined) await this.#takeStored(stored);
      const silent = await this.#watch.refresh(this.reader, this.view, this.reader.now(), this.#bringsBeats);
      for (const id of silent) this.view.touch(id);
      return this.#found(await this.#compose(terms), stored, [], false);
    });
  }

  /** What is to be said of one slot, whether or not there is something to do. */
  verdictOf(id: string, terms: LookTerms): Verdict | undefined {
    const slot = this.view.slot(id);
    return slot === undefined ? undefined : judge(slot, this.#judgeContext(terms));
  }

  #found(composition: Composition, stored: DesiredState, unknowns: readonly Unknown[], isFenced: boolean): Found {
    const silenceAt = this.#watch.nextAt;
    return {
      composition,
      generation: this.#generation,
      stored,
      unknowns,
      desired: this.#desiredKind,
      observed: this.#observedKind,
      isFenced,
      ...(silenceAt === undefined ? {} : { silenceAt }),
    };
  }

  // ------------------------------------------------------------------------------------------------ answers

  /** @returns whether a later leader kept the answer out of the ledger. */
  async #takeDesired(
    answer: Answer<DesiredSet> | undefined,
    stored: DesiredState,
    terms: LookTerms,
    unknowns: Unknown[],
  ): Promise<boolean> {
    if (answer === undefined) {
      await this.#takeStored(stored);
      return false;
    }
    if (answer.kind === "unknown") {
      unknowns.push({ of: "desired", error: answer.error });
      this.#generation = stored.generation;
      return false;
    }
    const kind = answer.kind === "complete" && isEmptySet(answer.value) ? this.#believe("desired", terms) : answer.kind;
    await this.#become("desired", kind);
    await this.view.want(answer.value);
    if (kind !== "complete") {
      if (answer.kind === "partial") this.#emptyOnce.desired = false;
      this.#generation = stored.generation;
      return false;
    }
    if (!isEmptySet(answer.value)) this.#emptyOnce.desired = false;
    const text = await desiredTextOf(answer.value);
    if (text === stored.desired) {
      this.#generation = stored.generation;
      return false;
    }
    this.#generation = stored.generation + 1;
    if (terms.mode === "dry" || terms.blockedBy !== undefined) return false;
    return this.#keepDesired(text);
  }

  async #takeStored({ desired, generation }: DesiredState): Promise<void> {
    this.#generation = generation;
    if (desired === undefined) {
      await this.#become("desired", "unset");
      return;
    }
    if (desired !== this.#desiredText || this.#desiredSet === undefined) {
      this.#desiredSet = await desiredOfText(desired);
      this.#desiredText = desired;
    }
    await this.#become("desired", "complete");
    await this.view.want(this.#desiredSet);
  }

  async #keepDesired(desired: string): Promise<boolean> {
    const { clock, random, storeTimeoutMs, store, name, leader } = this.#settings;
    const request = { group: name, epoch: leader?.epoch ?? 0, nonce: makeNonce(random), desired };
    const result = await storeOperation({
      clock,
      random,
      budgetMs: storeTimeoutMs,
      send: (call) => store.resources.setDesired(request, call),
    });
    if (result.status === "fenced") return true;
    this.#generation = result.generation;
    return false;
  }

  async #takeObserved(
    answer: Answer<readonly ObservedResource[]> | undefined,
    terms: LookTerms,
    unknowns: Unknown[],
  ): Promise<void> {
    if (answer === undefined) return;
    if (answer.kind === "unknown") {
      unknowns.push({ of: "observe", error: answer.error });
      return;
    }
    const isEmpty = answer.kind === "complete" && answer.value.length === 0;
    const kind = isEmpty ? this.#believe("observe", terms) : answer.kind;
    if (!isEmpty) this.#emptyOnce.observe = false;
    await this.#become("observed", kind);
    this.#bringsBeats = await this.view.see(answer.value, this.reader.now());
  }

  /** Whether an empty answer is taken at its word: not before it was given twice, if it would touch many. */
  #believe(of: "desired" | "observe", { mode, isApproved }: LookTerms): AnswerKind {
    const { allowEmpty, massGuard } = this.#settings;
    const fewest = massGuard === false ? EMPTY_GUARD_ROWS : massGuard.minRows;
    if (allowEmpty || isApproved || this.view.live < fewest || this.#emptyOnce[of]) return "complete";
    if (mode === "real") this.#emptyOnce[of] = true;
    return "unconfirmed";
  }

  /** An answer of another kind is to be judged anew everywhere: other things follow from what it lacks. */
  async #become(what: "desired" | "observed", kind: AnswerKind | "unset"): Promise<void> {
    const before = what === "desired" ? this.#desiredKind : this.#observedKind;
    if (before === kind) return;
    if (what === "desired") this.#desiredKind = kind;
    else this.#observedKind = kind as AnswerKind;
    await this.view.touchAll();
  }

  async #forgetTombstones({ mode, blockedBy }: LookTerms): Promise<void> {
    const before = this.reader.now() - TOMBSTONE_MS;
    if (mode === "dry" || blockedBy !== undefined || !this.view.hasTombstoneBefore(before)) return;
    await this.reader.purge(TOMBSTONE_MS);
    this.view.forgetTombstonesBefore(before);
  }

  // ------------------------------------------------------------------------------------------------ judging

  #compose(terms: LookTerms): Promise<Composition> {
    const { name: _name, massGuard, maxUnavailable, maxActionsPerPass, surplus, shards, staleAfterMs } = this.#settings;
    const nowMs = this.reader.now();
    const { ids, lastAt } = this.view.replacedSince(nowMs - staleAfterMs);
    const creationAt = this.#retries.creationAt(nowMs);
    return compose(this.#verdicts(this.#judgeContext(terms)), {
      nowMs,
      generation: this.#generation,
      ...(terms.blockedBy === undefined ? {} : { blockedBy: terms.blockedBy }),
      owns: (id) => shards?.owns(id) ?? true,
      isApproved: terms.isApproved,
      massGuard,
      live: this.view.live,
      justReplaced: ids,
      ...(lastAt === undefined ? {} : { lastReplacementAt: lastAt }),
      maxUnavailable,
      desired: this.view.wanted,
      maxActions: maxActionsPerPass,
      ...(surplus === undefined ? {} : { surplus: surplus as never }),
      failuresOf: (key) => this.#retries.failuresOf(key),
      ...(creationAt === undefined ? {} : { creationAt }),
    });
  }

  /** The verdicts on all slots that have to be judged. */
  *#verdicts(context: JudgeContext): Generator<Verdict> {
    for (const slot of this.view.dirty()) {
      const verdict = this.#isBusy(slot.id) ? busyVerdict(slot) : judge(slot, context);
      if (verdict.settled) this.view.settle(slot.id);
      yield verdict;
    }
  }

  #judgeContext({ graceLeftMs }: LookTerms): JudgeContext {
    const { replacement, update, forceTerminate, terminateGraceMs, observeGraceMs } = this.#settings;
    const nowMs = this.reader.now();
    const generation = this.#generation;
    const graceMs = graceLeftMs?.() ?? 0;
    return {
      nowMs,
      generation,
      desired: this.#desiredKind === "unset" ? "partial" : this.#desiredKind,
      observed: this.#observedKind,
      observedAt: nowMs - (this.#asked?.elapsedMs() ?? 0),
      replacement,
      canUpdate: update !== undefined,
      canForce: forceTerminate !== undefined,
      terminateGraceMs,
      observeGraceMs,
      healthOf: (row, item) => this.#watch.healthOf(row, item, nowMs),
      ...(graceMs === 0 ? {} : { graceUntil: nowMs + graceMs }),
      retryOf: (key) => this.#retries.retryOf(key, { generation, nowMs }),
      acceptedAt: (key) => this.#retries.acceptedAt(key, nowMs),
    };
  }

  #inTurn<T>(look: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(look);
    this.#turn = turn.catch(() => {});
    return turn;
  }
}

function isEmptySet(set: DesiredSet): boolean {
  return set.kind === "count" ? set.count === 0 : set.resources.length === 0;
}

/** Somebody acts on it already. */
function busyVerdict(slot: Verdict["slot"]): Verdict {
  return {
    slot,
    proposals: [],
    settled: false,
    drift: { missing: 0, surplus: 0, stale: 0, outdated: 0 },
    disrupted: true,
  };
}

/** What a condition says of an error: ours in full, others by their name alone, since nobody knows what they tell. */
export function reasonOf(error: unknown): string {
  if (error instanceof EvenkeelError) return error.message;
  return error instanceof Error ? error.name : typeof error;
}
