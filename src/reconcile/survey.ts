import { Stopwatch } from "../clock.ts";
import { invalidOptions } from "../option-rules.ts";
import { turnTaker } from "../resources/in-turns.ts";
import { askDesired, askObserved } from "./answers.ts";
import { Beliefs } from "./beliefs.ts";
import { blocked, type Found, type LookTerms, type Unknown } from "./found.ts";
import { endingKeysOf, judge } from "./judge.ts";
import { LedgerReader, PAGE } from "./ledger-reader.ts";
import { LedgerView } from "./ledger-view.ts";
import { type Composition, compose } from "./plan.ts";
import type { Retries } from "./retries.ts";
import type { ReconcilerSettings } from "./settings.ts";
import { type SilenceTerms, StalenessWatch } from "./staleness-watch.ts";
import { busyVerdict, type JudgeContext, type Verdict } from "./verdict.ts";

/** How long the ledger keeps a tombstone: as long as a zombie may come back to be recognised. */
export const TOMBSTONE_MS = 3_600_000;
/** Who has not read the ledger for longer may have missed that something was terminated, because its tombstone may be purged by now. */
const UNREAD_MS = TOMBSTONE_MS - 300_000;

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
  /** When the last observation was asked for, by the store's clock. */
  #askedAt: number | undefined;
  /** Since before the ledger's rows were last read. */
  #unread: Stopwatch | undefined;
  /** Tombstones were forgotten that the ledger may have yet. */
  #owesPurge = false;

  constructor(settings: ReconcilerSettings<Spec>, retries: Retries, isBusy: (id: string) => boolean) {
    this.#settings = settings;
    this.#retries = retries;
    this.#isBusy = isBusy;
    this.view = new LedgerView(settings.name);
    this.#beliefs = new Beliefs(settings, this.view);
    this.reader = new LedgerReader(settings as ReconcilerSettings<unknown>);
    this.#watch = new StalenessWatch(settings.staleness);
  }

  /**
   * A whole look: asks the callbacks, then the ledger, in this order, so that no resource is older than its row.
   * @param hash - of a plan that was approved: its holds are lifted.
   * @throws EvenkeelError `INVALID_OPTIONS` if the plan is another one by now.
   */
  async look(terms: LookTerms, hash?: string): Promise<Found> {
    const { desired, observe, clock } = this.#settings;
    const asked = new Stopwatch(clock);
    const [wanted, seen] = await Promise.all([
      desired && askDesired(this.#settings, terms.context),
      observe && askObserved(this.#settings, terms.context),
    ]);
    return this.#inTurn(async () => {
      this.reader.endWith(terms.context.signal);
      // Ours may have jumped since the last look.
      await this.#lookAtClock();
      if (seen !== undefined && seen.kind !== "unknown") this.#askedAt = this.reader.now() - asked.elapsedMs();
      const stored = await this.reader.desired();
      await this.#readRows();
      await this.#forgetTombstones(terms);
      const unknowns: Unknown[] = [];
      await this.#beliefs.takeDesired(wanted, stored, terms, unknowns);
      let isFenced = terms.mode === "real" && (await this.#keepDesired(terms));
      const sight = await this.#beliefs.takeObserved(seen, terms, unknowns, this.reader.now());
      if (sight?.kind === "complete") await this.#forgetEndings();
      await this.#lookForSilence(terms);
      const composed = async (isApproved: boolean): Promise<Composition> =>
        this.#compose(blocked({ ...terms, isApproved }, { unknowns, isFenced }));
      let composition = await composed(false);
      if (hash !== undefined) {
        if (composition.hash !== hash)
          throw invalidOptions("Reconciler.approve", "the plan is another one by now: look at plan() again");
        // In the same turn, so that no other look comes between what was approved and what is done.
        isFenced = await this.#keepDesired(terms);
        composition = await composed(true);
      }
      if (this.#watch.failure !== undefined) unknowns.push({ of: "staleness", error: this.#watch.failure });
      const askedAt = this.#askedAt;
      return this.#found(composition, {
        stored,
        unknowns,
        isFenced,
        belief: this.#beliefs.belief(sight),
        ...(askedAt === undefined ? {} : { askedAt }),
      });
    });
  }

  forgetEmptyAnswers(): void {
    this.#beliefs.forgetEmptyAnswers();
  }

  /** What follows now from the answers that a look got, whatever other looks were answered since. */
  review(terms: LookTerms, look: Found): Promise<Found> {
    return this.#inTurn(async () => {
      await this.#beliefs.takeAgain(look.belief);
      this.#askedAt = look.askedAt;
      return this.#found(await this.#compose(blocked(terms, look)), look);
    });
  }

  /** What the ledger says, beside the answers that the last look got. */
  reread(terms: LookTerms): Promise<Found> {
    return this.#inTurn(async () => {
      this.reader.endWith(terms.context.signal);
      await this.#lookAtClock();
      const stored = await this.reader.desired();
      await this.#readRows();
      await this.#forgetTombstones(terms);
      // Who follows asks nobody what is desired: the leader brings it into the ledger.
      const isFollowing = terms.blockedBy() === "notLeader";
      if (this.#settings.desired === undefined || isFollowing) await this.#beliefs.takeStored(stored);
      await this.#lookForSilence(terms);
      const belief = this.#beliefs.belief(undefined);
      return this.#found(await this.#compose(terms), { stored, unknowns: [], isFenced: false, belief });
    });
  }

  /** What is to be said of one slot, whether or not there is something to do. */
  verdictOf(id: string, terms: LookTerms): Verdict | undefined {
    const slot = this.view.slot(id);
    return slot === undefined ? undefined : judge(slot, this.#judgeContext(terms));
  }

  #found(
    composition: Composition,
    {
      stored,
      unknowns,
      isFenced,
      belief,
      askedAt,
    }: Pick<Found, "stored" | "unknowns" | "isFenced" | "belief" | "askedAt">,
  ): Found {
    const silenceAt = this.#watch.nextAt;
    const { surplusFailure } = composition;
    const known = unknowns.filter(({ of }) => of !== "surplus");
    return {
      composition,
      generation: this.#beliefs.generation,
      stored,
      unknowns: surplusFailure === undefined ? known : [...known, { of: "surplus", error: surplusFailure.error }],
      desired: this.#beliefs.desired,
      observed: this.#beliefs.observed,
      isFenced,
      wanted: this.view.wanted,
      states: { ...this.view.states },
      belief,
      ...(askedAt === undefined ? {} : { askedAt }),
      ...(silenceAt === undefined ? {} : { silenceAt }),
    };
  }

  /** By way of the row that was known last, which tells at no cost whether the ledger has lost writes. */
  async #lookAtClock(): Promise<void> {
    const { last } = this.view;
    const found = await this.reader.lookAtClock(last);
    if (last !== undefined) this.view.compare(last, found);
  }

  async #readRows(): Promise<void> {
    const { view, reader } = this;
    if (this.#unread !== undefined && this.#unread.elapsedMs() >= UNREAD_MS) view.doubt();
    const since = new Stopwatch(this.#settings.clock);
    await view.refresh((cursor) => reader.changedSince(cursor), PAGE);
    this.#unread = since;
  }

  /** Whoever may not act keeps nothing. */
  async #keepDesired({ blockedBy, context }: LookTerms): Promise<boolean> {
    return blockedBy() === undefined && (await this.#beliefs.keepDesired(context.epoch ?? 0));
  }

  /** Whoever may not act forgets them, too, and leaves them in the ledger until somebody acts. */
  async #forgetTombstones({ mode, blockedBy }: LookTerms): Promise<void> {
    const before = this.reader.now() - TOMBSTONE_MS;
    if (!this.#owesPurge && !this.view.hasTombstoneBefore(before)) return;
    const isActing = mode === "real" && blockedBy() === undefined;
    if (isActing) await this.reader.purge(TOMBSTONE_MS);
    this.#owesPurge = !isActing;
    this.view.forgetTombstonesBefore(before);
  }

  /** Forgets what was accepted, or failed, of terminations of what is not there any more. */
  async #forgetEndings(): Promise<void> {
    const turns = turnTaker();
    for (const { key, id } of this.#retries.endings()) {
      const slot = this.view.slot(id);
      if (slot === undefined || !endingKeysOf(slot).has(key)) this.#retries.succeeded(key);
      if (turns.isDue()) await turns.turn();
    }
  }

  async #lookForSilence({ mode }: LookTerms): Promise<void> {
    const beats = this.#beliefs.bringsBeats ? "observed" : "stored";
    const terms = this.#silenceTerms(mode, this.reader.now());
    for (const id of await this.#watch.refresh(this.reader, this.view, terms, beats)) this.view.touch(id);
  }

  #silenceTerms(mode: LookTerms["mode"], nowMs: number): SilenceTerms {
    return { mode, nowMs, ...(this.#askedAt === undefined ? {} : { observedAt: Math.min(this.#askedAt, nowMs) }) };
  }

  // ------------------------------------------------------------------------------------------------ judging

  #compose(terms: LookTerms): Promise<Composition> {
    const { name: _name, massGuard, maxUnavailable, maxActionsPerPass, surplus, shards, staleAfterMs } = this.#settings;
    const nowMs = this.reader.now();
    const blockedBy = terms.blockedBy();
    const { ids, lastAt } = this.view.replacedSince(nowMs - staleAfterMs);
    const creationAt = this.#retries.creationAt(nowMs);
    return compose(this.#verdicts(this.#judgeContext(terms)), {
      nowMs,
      generation: this.#beliefs.generation,
      ...(blockedBy === undefined ? {} : { blockedBy }),
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

  #judgeContext({ mode, graceLeftMs }: LookTerms): JudgeContext {
    const { replacement, update, forceTerminate, terminateGraceMs, observeGraceMs } = this.#settings;
    const nowMs = this.reader.now();
    const generation = this.#beliefs.generation;
    const graceMs = graceLeftMs?.() ?? 0;
    const silenceTerms = this.#silenceTerms(mode, nowMs);
    return {
      nowMs,
      generation,
      desired: this.#beliefs.desired === "unset" ? "partial" : this.#beliefs.desired,
      observed: this.#beliefs.observed,
      observedAt: silenceTerms.observedAt ?? nowMs,
      replacement,
      canUpdate: update !== undefined,
      canForce: forceTerminate !== undefined,
      terminateGraceMs,
      observeGraceMs,
      healthOf: (row, item) => this.#watch.healthOf(row, item, silenceTerms),
      ...(graceMs === 0 ? {} : { graceUntil: nowMs + graceMs }),
      retryOf: (key, spec) => this.#retries.retryOf(key, { generation, spec, nowMs }),
      acceptedAt: (key) => this.#retries.acceptedAt(key, nowMs),
    };
  }

  #inTurn<T>(look: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(look);
    this.#turn = turn.catch(() => {});
    return turn;
  }
}
