import { strict as assert } from "node:assert";
import type {
  AcquiredClaim,
  ClaimRequest,
  CommittedOutcome,
  CompleteRequest,
  ExecutionStore,
  ExecutionView,
  Holder,
  RenewRequest,
  SeizeRequest,
  SeizeResult,
  StoredOutcome,
} from "../../store.ts";
import { type Elapsed, follows, type Span } from "./elapsed.ts";

interface Grant {
  readonly nonce: string;
  readonly token: number;
  readonly attempt: number;
  readonly span: Span;
  /** What set the lease last, as it is known to end at the earliest and at the latest. */
  endsEarliest: Lease;
  endsLatest: Lease;
  /** Since when somebody may have given it up, and when that was answered. */
  releaseBegan?: Span["began"];
  released?: Span;
}

interface Lease {
  readonly span: Span;
  readonly leaseMs: number;
  readonly retentionMs: number;
}

interface Commit {
  readonly token: number;
  readonly outcome: StoredOutcome;
  readonly completedAt: number;
  readonly span: Span;
  readonly retentionMs: number;
}

interface Seen {
  readonly grants: Grant[];
  /** How many completions were sent under each token. */
  readonly completions: Map<number, number>;
  commit?: Commit;
}

/**
 * Watches every answer that a case gets and holds the store to what must be true in any order of calls:
 *
 * - I1, I5: a record is committed once in its retention, and everybody reads those bytes until it ends.
 * - I2: nothing is committed under a token once a higher one was granted.
 * - I3: a grant has a higher token than every grant that was answered before it was asked for.
 * - I4: a nonce that asks again has the grant that it had.
 * - I6: nobody is granted a record whose lease is running, but who seizes the very grant that was seen.
 * - I7: nobody renews, releases or records a step who does not hold the record; nobody renews what has lapsed.
 *
 * Calls that overlap may have been decided in either order, so only what follows an answer is judged by it.
 */
export class Invariants {
  readonly #records = new Map<string, Seen>();
  readonly #violations = new Set<string>();
  readonly #elapsed: Elapsed;

  constructor(elapsed: Elapsed) {
    this.#elapsed = elapsed;
  }

  /** The same store, watched. Several stores on one ledger are watched as one. */
  observe(inner: ExecutionStore): ExecutionStore {
    const measure = this.#elapsed.measure.bind(this.#elapsed);
    return {
      claim: async (request, call) => {
        const { answer, span } = await measure(() => inner.claim(request, call));
        if (answer.status === "acquired") this.#granted("claim", request, answer, span);
        if (answer.status === "completed") this.#read(request.id, answer, span);
        return answer;
      },
      complete: async (request, call) => {
        // The caller may change the bytes while the call is under way.
        const asked = copy(request.outcome);
        this.#completing(request);
        const { answer, span } = await measure(() => inner.complete(request, call));
        if (answer.status === "committed") this.#committed(request, asked, answer, span);
        if (answer.status === "finalized") this.#read(request.id, answer, span);
        return answer;
      },
      renew: async (request, call) => {
        const { answer, span } = await measure(() => inner.renew(request, call));
        if (answer.status === "renewed") this.#renewed(request, span);
        return answer;
      },
      release: async (request, call) => {
        const grant = this.#seen(request.id).grants.find(({ token }) => token === request.token);
        if (grant !== undefined) grant.releaseBegan ??= this.#elapsed.now();
        const { answer, span } = await measure(() => inner.release(request, call));
        if (answer.status === "released") {
          this.#assertHolder("released", request, span);
          if (grant !== undefined) grant.released = span;
        }
        return answer;
      },
      recordStep: async (request, call) => {
        const { answer, span } = await measure(() => inner.recordStep(request, call));
        if (answer.status === "recorded") this.#assertHolder("recorded a step of", request, span);
        return answer;
      },
      seize: async (request, call) => {
        const { answer, span } = await measure(() => inner.seize(request, call));
        if (answer.status === "seized") this.#seized(request, answer, span);
        if (answer.status === "completed") this.#read(request.id, answer, span);
        return answer;
      },
      get: async (id, call) => {
        const { answer, span } = await measure(() => inner.get(id, call));
        this.#viewed(id, answer, span);
        return answer;
      },
      list: async (request, call) => {
        const { answer, span } = await measure(() => inner.list(request, call));
        for (const view of answer) this.#viewed(view.id, view, span);
        return answer;
      },
      recent: async (request, call) => {
        const { answer, span } = await measure(() => inner.recent(request, call));
        for (const view of answer) this.#viewed(view.id, view, span);
        return answer;
      },
      purge: (request, call) => inner.purge(request, call),
      countExpired: (call) => inner.countExpired(call),
      ...(inner.watch === undefined ? {} : { watch: inner.watch.bind(inner) }),
      ...(inner.completeInTransaction === undefined ? {} : { completeInTransaction: this.#transacted(inner) }),
    };
  }

  /** Reads once more what was committed, and fails with everything that was seen to be wrong. */
  async assertHeld(inner: ExecutionStore): Promise<void> {
    const observed = this.observe(inner);
    for (const [id, { commit }] of this.#records) {
      // A store that is closed, and a record that the case has damaged, have no more to say.
      if (commit !== undefined) await observed.get(id, { timeoutMs: 30_000 }).catch(() => {});
    }
    assert.deepEqual([...this.#violations], []);
  }

  /** Whether it counts is known once the transaction has ended; it is held to what readers see then. */
  #transacted(inner: ExecutionStore): NonNullable<ExecutionStore["completeInTransaction"]> {
    return (request, tx) => {
      this.#completing(request);
      return inner.completeInTransaction?.(request, tx) ?? assert.fail("the store completes in no transaction");
    };
  }

  #completing({ id, token }: Holder): void {
    const { completions } = this.#seen(id);
    completions.set(token, (completions.get(token) ?? 0) + 1);
  }

  #seen(id: string): Seen {
    const record = this.#records.get(id) ?? { grants: [], completions: new Map() };
    this.#records.set(id, record);
    return record;
  }

  #seized(request: SeizeRequest, answer: Extract<SeizeResult, { status: "seized" }>, span: Span): void {
    const { token, nonce } = request;
    const isOther = (grant: Grant): boolean => grant.token > token && grant.nonce !== nonce;
    if (this.#seen(request.id).grants.some((grant) => isOther(grant) && follows(span, grant.span)))
      this.#violated(`I6: the grant of token ${token} was seized although a later one had been made`);
    this.#granted("seizure", request, answer, span);
  }

  #granted(
    by: "claim" | "seizure",
    request: ClaimRequest | SeizeRequest,
    { token, attempt }: Pick<AcquiredClaim, "token" | "attempt">,
    span: Span,
  ): void {
    const { id, nonce, leaseMs, retentionMs } = request;
    const record = this.#seen(id);
    const lease: Lease = { span, leaseMs, retentionMs };
    if (!Number.isSafeInteger(token) || token <= 0) this.#violated(`token ${token} is no positive safe integer`);
    const known = record.grants.find((grant) => grant.token === token);
    if (known !== undefined) {
      if (known.nonce !== nonce) this.#violated(`I3: token ${token} was granted to two nonces`);
      if (known.attempt !== attempt) this.#violated(`I4: a nonce that asked again became another attempt`);
      known.endsLatest = lease;
      return;
    }
    const before = record.grants.filter((grant) => follows(span, grant.span));
    if (before.some((grant) => grant.token > token)) this.#violated(`I3: token ${token} followed a higher one`);
    const last = before.reduce<Grant | undefined>((a, b) => (a === undefined || b.token > a.token ? b : a), undefined);
    if (last !== undefined && last.releaseBegan === undefined && !record.completions.has(last.token)) {
      const { span: since, leaseMs: lasts, retentionMs: kept } = last.endsEarliest;
      const passed = this.#elapsed.atMost(since, span);
      if (last.nonce === nonce && passed < lasts + kept) this.#violated("I4: a nonce that asked again got a new token");
      if (by === "claim" && last.nonce !== nonce && passed < lasts)
        this.#violated("I6: a record was granted while its lease was running");
    }
    if (this.#stands(record, span)) this.#violated("I5: a completed record was granted anew");
    record.grants.push({ nonce, token, attempt, span, endsEarliest: lease, endsLatest: lease });
  }

  #committed(request: CompleteRequest, asked: StoredOutcome, answer: CommittedOutcome, span: Span): void {
    const record = this.#seen(request.id);
    this.#assertHolder("committed", request, span, "I2");
    const { token, retentionMs } = request;
    if (record.commit?.token === token) return this.#read(request.id, answer, span);
    if (this.#stands(record, span)) this.#violated("I1: a second outcome was committed within the retention");
    if (record.completions.get(token) === 1 && !same(asked, answer.outcome)) {
      this.#violated("I5: the first outcome to be committed came back with other bytes");
    }
    const { completedAt } = answer;
    record.commit = { token, outcome: copy(answer.outcome), completedAt, span, retentionMs };
  }

  #viewed(id: string, view: ExecutionView | undefined, span: Span): void {
    const record = this.#seen(id);
    if (view?.status === "completed") {
      this.#read(id, view, span);
      const { token, completedAt, expiresInMs } = view;
      record.commit ??= { token, outcome: copy(view.outcome), completedAt, span, retentionMs: expiresInMs };
    } else if (this.#stands(record, span)) this.#violated("I5: a completed record was read as not completed");
  }

  #read(id: string, answer: Pick<CommittedOutcome, "outcome" | "completedAt">, span: Span): void {
    const record = this.#seen(id);
    if (!this.#stands(record, span)) return;
    if (!same(record.commit.outcome, answer.outcome)) this.#violated("I5: a committed outcome changed");
    if (record.commit.completedAt !== answer.completedAt) this.#violated("I5: the moment of a completion changed");
  }

  #renewed(request: RenewRequest, span: Span): void {
    const grant = this.#assertHolder("renewed", request, span);
    const record = this.#seen(request.id);
    if (grant === undefined) return;
    const { leaseMs, retentionMs } = request;
    const { span: since, leaseMs: lasts } = grant.endsLatest;
    if (this.#elapsed.atLeast(since, span) >= lasts) this.#violated("I7: a lapsed lease was renewed");
    if (grant.released !== undefined && follows(span, grant.released)) {
      this.#violated("I7: a holder that had given the record up renewed it");
    }
    if (this.#stands(record, span)) this.#violated("I7: the lease of a completed record was renewed");
    grant.endsEarliest = { span, leaseMs, retentionMs };
    grant.endsLatest = grant.endsEarliest;
  }

  #assertHolder(did: string, { id, token, nonce }: Holder, span: Span, rule = "I7"): Grant | undefined {
    const { grants } = this.#seen(id);
    const grant = grants.find((known) => known.token === token && known.nonce === nonce);
    if (grant === undefined) this.#violated(`${rule}: somebody ${did} a record under a token and nonce never granted`);
    if (grants.some((other) => other.token > token && follows(span, other.span))) {
      this.#violated(`${rule}: token ${token} ${did} a record although a higher one had been granted`);
    }
    return grant;
  }

  /** Whether the record's outcome had been committed before a call began, and can't have expired before it was answered. */
  #stands(record: Seen, span: Span): record is Seen & { commit: Commit } {
    const { commit } = record;
    if (commit === undefined || !follows(span, commit.span)) return false;
    return this.#elapsed.atMost(commit.span, span) < commit.retentionMs;
  }

  #violated(what: string): void {
    this.#violations.add(what);
  }
}

function same(a: StoredOutcome, b: StoredOutcome): boolean {
  return a.kind === b.kind && Buffer.compare(a.bytes, b.bytes) === 0;
}

function copy({ kind, bytes }: StoredOutcome): StoredOutcome {
  return { kind, bytes: bytes.slice() };
}
