import { Stopwatch } from "../clock.ts";
import type { DesiredState } from "../store.ts";
import { askDesired, askObserved } from "./answers.ts";
import { Beliefs } from "./beliefs.ts";
import type { Found, LookTerms, Unknown } from "./found.ts";
import { judge } from "./judge.ts";
import { LedgerReader, PAGE } from "./ledger-reader.ts";
import { LedgerView } from "./ledger-view.ts";
import { type Composition, compose } from "./plan.ts";
import type { Retries } from "./retries.ts";
import type { ReconcilerSettings } from "./settings.ts";
import { StalenessWatch } from "./staleness-watch.ts";
import type { JudgeContext, Verdict } from "./verdict.ts";

/** How long the ledger keeps a tombstone: as long as a zombie may come back to be recognised. */
export const TOMBSTONE_MS = 3_600_000;

/** Finds out what is desired, observed and in the ledger, and what follows from that. Acts on nothing. */
export class Survey<Spec> {
  readonly view: LedgerView;
  readonly reader: LedgerReader;
  readonly #settings: ReconcilerSettings<Spec>;
  readonly #retries: Retries;
  readonly #isBusy: (id: string) => boolean;
  readonly #beliefs: Beliefs<Spec>;
  readonly #watch: StalenessWatch;
  /** One look at a time changes the view. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Since the last observation was asked for. */
  #asked: Stopwatch | undefined;

  constructor(settings: ReconcilerSettings<Spec>, retries: Retries, isBusy: (id: string) => boolean) {
    this.#settings = settings;
    this.#retries = retries;
    this.#isBusy = isBusy;
    this.view = new LedgerView(settings.name);
    this.#beliefs = new Beliefs(settings, this.view);
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
      const isFenced = await this.#beliefs.takeDesired(wanted, stored, terms, unknowns);
      if (seen !== undefined && seen.kind !== "unknown") this.#asked = asked;
      await this.#beliefs.takeObserved(seen, terms, unknowns, this.reader.now());
      const silent = await this.#watch.refresh(this.reader, view, this.reader.now(), this.#beliefs.bringsBeats);
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
      if (this.#settings.desired === undefined) await this.#beliefs.takeStored(stored);
      const silent = await this.#watch.refresh(this.reader, this.view, this.reader.now(), this.#beliefs.bringsBeats);
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
      generation: this.#beliefs.generation,
      stored,
      unknowns,
      desired: this.#beliefs.desired,
      observed: this.#beliefs.observed,
      isFenced,
      ...(silenceAt === undefined ? {} : { silenceAt }),
    };
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
      generation: this.#beliefs.generation,
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
    const generation = this.#beliefs.generation;
    const graceMs = graceLeftMs?.() ?? 0;
    return {
      nowMs,
      generation,
      desired: this.#beliefs.desired === "unset" ? "partial" : this.#beliefs.desired,
      observed: this.#beliefs.observed,
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
