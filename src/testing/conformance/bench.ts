import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { isEvenkeelError } from "../../errors.ts";
import type {
  AcquiredClaim,
  ClaimRequest,
  CommittedOutcome,
  ExecutionStore,
  ExecutionView,
  Holder,
  LedgerStore,
  OutcomeKind,
  StoreCall,
  StoredOutcome,
} from "../../store.ts";
import { Invariants } from "./invariants.ts";

/** A store under test, with its time. */
export interface ConformanceSubject {
  readonly store: LedgerStore;
  /** Moves the store's time on by so many milliseconds. */
  advance(ms: number): Promise<void>;
  /** Closes the store and removes what it left behind. Called after each case. */
  dispose(): Promise<void>;
}

/** What a store can do beyond what every store has to, and what it leaves out. */
export interface StoreCapabilities {
  /** Whether time stands still but for `advance()`, so that boundaries can be met to the millisecond. Defaults to false. */
  readonly exactTime?: boolean;
  /** Whether the user's keys are kept beside their digest. Defaults to true. */
  readonly storeKeys?: boolean;
  /** Whether `watch` wakes on completion and release. Defaults to false: a store need not push. */
  readonly watch?: boolean;
  /** Whether expired records stay until `purge` deletes them, so that it can count them. Defaults to true. */
  readonly purge?: boolean;
  /** The largest outcome that the store takes, in bytes. Defaults to 5,242,880. */
  readonly maxOutcomeBytes?: number;
}

/** Cases by their names, each a sentence about the store. */
export type ConformanceCases = Readonly<Record<string, (bench: Bench) => Promise<void>>>;

/** A held claim: what was granted, and what its holder's writes carry. */
export interface Held {
  readonly claim: AcquiredClaim;
  readonly holder: Holder;
}

/** Nobody is that slow: a store call that takes longer fails the case. */
const CALL: StoreCall = { timeoutMs: 30_000 };

/** One case's store, and the requests that cases have in common. */
export class Bench {
  /** Long enough that no machine is slow enough to see it lapse by itself. */
  readonly leaseMs = 600_000;
  readonly retentionMs = 86_400_000;
  readonly capabilities: Required<StoreCapabilities>;
  readonly store: LedgerStore;
  readonly executions: ExecutionStore;
  readonly invariants: Invariants;
  readonly #subject: ConformanceSubject;
  #nonces = 0;

  constructor(subject: ConformanceSubject, capabilities: StoreCapabilities) {
    this.capabilities = {
      exactTime: false,
      storeKeys: true,
      watch: false,
      purge: true,
      maxOutcomeBytes: 5 * 1024 * 1024,
      ...capabilities,
    };
    this.#subject = subject;
    this.store = subject.store;
    this.invariants = new Invariants(subject.store.executions);
    this.executions = this.invariants.observed;
  }

  readonly call = CALL;

  /** A record's id: 64 hex digits of a name. */
  id(name = "record"): string {
    return createHash("sha256").update(name).digest("hex");
  }

  /** A nonce that was not used before. */
  nonce(): string {
    this.#nonces += 1;
    return this.#nonces.toString(16).padStart(32, "0");
  }

  /** 64 hex digits, as fingerprints are. */
  fingerprint(of: string): string {
    return this.id(`fingerprint of ${of}`);
  }

  advance(ms: number): Promise<void> {
    return this.#subject.advance(ms);
  }

  /** To a moment at which a span of `ms` that began now has almost passed. */
  async advanceAlmost(ms: number): Promise<void> {
    await this.advance(this.capabilities.exactTime ? ms - 1 : Math.floor(ms / 2));
  }

  request(overrides: Partial<ClaimRequest> = {}): ClaimRequest {
    return {
      id: this.id(),
      operation: "charge",
      scope: "tenant",
      key: "order-17",
      fingerprint: this.fingerprint("payload"),
      nonce: this.nonce(),
      leaseMs: this.leaseMs,
      retentionMs: this.retentionMs,
      onAbandoned: "takeover",
      ...overrides,
    };
  }

  claim(overrides: Partial<ClaimRequest> = {}) {
    return this.executions.claim(this.request(overrides), CALL);
  }

  /** A claim that has to be granted. */
  async hold(overrides: Partial<ClaimRequest> = {}): Promise<Held> {
    const request = this.request(overrides);
    const claim = await this.executions.claim(request, CALL);
    assert.equal(claim.status, "acquired");
    const acquired = claim as AcquiredClaim;
    return { claim: acquired, holder: { id: request.id, token: acquired.token, nonce: request.nonce } };
  }

  /** A claim whose lease has lapsed. */
  async abandoned(overrides: Partial<ClaimRequest> = {}): Promise<Held> {
    const held = await this.hold(overrides);
    await this.advance(overrides.leaseMs ?? this.leaseMs);
    return held;
  }

  renew(holder: Holder, overrides: { leaseMs?: number; retentionMs?: number } = {}) {
    const { leaseMs, retentionMs } = this;
    return this.executions.renew({ ...holder, leaseMs, retentionMs, ...overrides }, CALL);
  }

  complete(holder: Holder, outcome = this.outcome("done"), retentionMs = this.retentionMs) {
    return this.executions.complete({ ...holder, outcome, retentionMs }, CALL);
  }

  /** Gives the record up without a trace. */
  forget(holder: Holder) {
    return this.executions.release({ ...holder, as: { mode: "forget" } }, CALL);
  }

  /** Gives the record up to its next caller. */
  grantRetry(holder: Holder, retentionMs = this.retentionMs) {
    return this.executions.release({ ...holder, as: { mode: "retry", attempt: 1, retentionMs } }, CALL);
  }

  step(holder: Holder, position: number, name: string, outcome = this.outcome(name)) {
    return this.executions.recordStep({ ...holder, step: { position, name, outcome } }, CALL);
  }

  get(id = this.id()): Promise<ExecutionView | undefined> {
    return this.executions.get(id, CALL);
  }

  outcome(text: string, kind: OutcomeKind = "value"): StoredOutcome {
    return { kind, bytes: new TextEncoder().encode(text) };
  }

  /** Asserts that an answer carries this outcome, byte for byte, and returns what it carries. */
  assertOutcome(answer: unknown, expected: StoredOutcome): CommittedOutcome {
    const { outcome } = (answer ?? {}) as Partial<CommittedOutcome>;
    assert.ok(outcome !== undefined, "the answer has no outcome");
    assert.equal(outcome.kind, expected.kind);
    assert.ok(outcome.bytes instanceof Uint8Array, "the bytes are a Uint8Array");
    assert.ok(Buffer.compare(outcome.bytes, expected.bytes) === 0, "the bytes are those that were stored");
    return answer as CommittedOutcome;
  }

  /** Asserts that a remaining or total time is right; where time flows it may be less by what the case took. */
  assertMs(actual: number, expected: number): void {
    if (this.capabilities.exactTime) assert.equal(actual, expected);
    else assert.ok(actual <= expected && actual > expected - 60_000, `${actual} ms is not nearly ${expected} ms`);
  }

  /** Asserts that nothing of a record has changed since a view of it was taken, but for its age. */
  async assertUnchanged(before: ExecutionView | undefined, id = this.id()): Promise<void> {
    const after = await this.get(id);
    assert.deepEqual(ageless(after), ageless(before));
  }
}

/** Asserts that a call is refused by a store that did nothing. */
export async function assertUnavailable(answer: Promise<unknown>): Promise<void> {
  const error = await answer.then(
    () => assert.fail("the call succeeded"),
    (reason: unknown) => reason,
  );
  assert.ok(isEvenkeelError(error), "the error is an EvenkeelError");
  assert.equal(error.code, "STORE_UNAVAILABLE");
  assert.equal(error.cause, undefined, "no cause: the store did nothing");
}

function ageless(view: ExecutionView | undefined): object | undefined {
  if (view === undefined) return undefined;
  const { expiresInMs: _expires, leaseRemainingMs: _lease, ...rest } = { leaseRemainingMs: 0, ...view };
  if (!("outcome" in rest)) return rest;
  return { ...rest, outcome: { kind: rest.outcome.kind, bytes: Array.from(rest.outcome.bytes) } };
}
