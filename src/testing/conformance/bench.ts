import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { systemClock, type Timer } from "../../clock.ts";
import { type EvenkeelError, isEvenkeelError } from "../../errors.ts";
import type {
  AcquiredClaim,
  ClaimRequest,
  CommittedOutcome,
  CompleteResult,
  ExecutionStore,
  ExecutionView,
  Holder,
  LeaseStore,
  LedgerStore,
  OutcomeKind,
  SeizeRequest,
  SeizeResult,
  StoreCall,
  StoredOutcome,
} from "../../store.ts";
import { assertBytes, assertStatus, assertThere } from "./assertions.ts";
import { Elapsed } from "./elapsed.ts";
import { Invariants } from "./invariants.ts";
import { LeaseInvariants } from "./lease-invariants.ts";
import {
  type ConformanceHook,
  type ConformanceSubject,
  type DamagedRecord,
  type RecordDamage,
  type RecordName,
  type StoreCapabilities,
  withDefaults,
} from "./subject.ts";

export type { ConformanceSubject, StoreCapabilities } from "./subject.ts";

/** Cases by their names, each a sentence about the store. */
export type ConformanceCases = Readonly<Record<string, ConformanceCase | Conditional>>;

export type ConformanceCase = (bench: Bench) => Promise<void>;

/** A case that not every store can be held to. */
export interface Conditional {
  /** Why the case is skipped; undefined where it is not. */
  readonly unless: (capabilities: Required<StoreCapabilities>) => string | undefined;
  readonly holds: ConformanceCase;
}

/** A case that needs hooks of the subject. */
export function withHooks(hooks: readonly Exclude<ConformanceHook, "corrupt">[], holds: ConformanceCase): Conditional {
  return {
    unless: (capabilities) => {
      const missing = hooks.filter((hook) => !capabilities.hooks.includes(hook));
      return missing.length === 0 ? undefined : `capabilities.hooks has no ${missing.join(" and no ")}`;
    },
    holds,
  };
}

/** A held claim: what was granted, and what its holder's writes carry. */
export interface Held {
  readonly claim: AcquiredClaim;
  readonly holder: Holder;
}

/** A record that an operator holds. */
export interface Seized {
  readonly answer: Extract<SeizeResult, { status: "seized" }>;
  readonly request: SeizeRequest;
  readonly holder: Holder;
}

/** Nobody is that slow: a store call that takes longer fails the case. */
const CALL: StoreCall = { timeoutMs: 30_000 };

/** What the benches of one case share. */
interface Shared {
  readonly elapsed: Elapsed;
  readonly invariants: Invariants;
  readonly leaseInvariants: LeaseInvariants;
  readonly opened: LedgerStore[];
  nonces: number;
}

/** One case's store, and the requests that cases have in common. */
export class Bench {
  /** Long enough that no machine is slow enough to see it lapse by itself. */
  readonly leaseMs = 600_000;
  readonly retentionMs = 86_400_000;
  readonly capabilities: Required<StoreCapabilities>;
  readonly store: LedgerStore;
  readonly executions: ExecutionStore;
  readonly leases: LeaseStore;
  readonly #subject: ConformanceSubject;
  readonly #shared: Shared;

  constructor(
    subject: ConformanceSubject,
    capabilities: StoreCapabilities,
    store: LedgerStore = subject.store,
    shared: Shared = share(withDefaults(capabilities)),
  ) {
    this.capabilities = withDefaults(capabilities);
    this.#subject = subject;
    this.#shared = shared;
    this.store = store;
    this.executions = shared.invariants.observe(store.executions);
    this.leases = shared.leaseInvariants.observe(store.leases);
  }

  /** Fails where an invariant did not hold over all that the case did. */
  async assertInvariants(): Promise<void> {
    await this.#shared.invariants.assertHeld(this.store.executions);
    this.#shared.leaseInvariants.assertHeld();
  }

  /** Closes what the case opened itself. */
  async close(): Promise<void> {
    for (const store of this.#shared.opened.splice(0)) await store.close();
  }

  /** The same ledger through another store object. */
  async reopen(): Promise<Bench> {
    const store = await this.#hook("reopen").call(this.#subject);
    this.#shared.opened.push(store);
    return new Bench(this.#subject, this.capabilities, store, this.#shared);
  }

  corrupt(record: RecordName, damage: RecordDamage): Promise<DamagedRecord> {
    return this.#hook("corrupt").call(this.#subject, record, damage);
  }

  transact(work: (tx: unknown) => void | Promise<void>, end: "commit" | "rollback"): Promise<void> {
    return this.#hook("transact").call(this.#subject, work, end);
  }

  stall(): Promise<() => Promise<void>> {
    return this.#hook("stall").call(this.#subject);
  }

  /** The names of the hooks that the subject has. */
  get hooks(): ConformanceHook[] {
    const all: readonly ConformanceHook[] = ["reopen", "corrupt", "transact", "stall"];
    return all.filter((name) => this.#subject[name] !== undefined);
  }

  #hook<Hook extends ConformanceHook>(name: Hook): NonNullable<ConformanceSubject[Hook]> {
    const hook: ConformanceSubject[Hook] = this.#subject[name];
    assert.ok(hook !== undefined, `the capabilities name ${name}, and the subject has no such method`);
    return hook;
  }

  readonly call = CALL;

  /** A record's id: 64 hex digits of a name. */
  id(name = "record"): string {
    return createHash("sha256").update(name).digest("hex");
  }

  /** A nonce that was not used before. */
  nonce(): string {
    this.#shared.nonces += 1;
    return this.#shared.nonces.toString(16).padStart(32, "0");
  }

  /** 64 hex digits, as fingerprints are. */
  fingerprint(of: string): string {
    return this.id(`fingerprint of ${of}`);
  }

  advance(ms: number): Promise<void> {
    return this.#shared.elapsed.advance(ms, (span) => this.#subject.advance(span));
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
    assertStatus(claim, "acquired", "claim");
    return { claim, holder: { id: request.id, token: claim.token, nonce: request.nonce } };
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

  completeIn(tx: unknown, holder: Holder, outcome = this.outcome("done")): Promise<CompleteResult> {
    const { retentionMs, executions } = this;
    // Some stores answer synchronously, and throw so.
    return new Promise((resolve) => {
      assert.ok(executions.completeInTransaction !== undefined, "the store completes in transactions");
      resolve(executions.completeInTransaction({ ...holder, outcome, retentionMs }, tx));
    });
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

  /** An operator's request for the grant of a token. */
  seizure(token: number, overrides: Partial<SeizeRequest> = {}): SeizeRequest {
    const { leaseMs, retentionMs } = this;
    return { id: this.id(), token, nonce: this.nonce(), leaseMs, retentionMs, ...overrides };
  }

  /** A seizure that has to succeed. */
  async seize(token: number, overrides: Partial<SeizeRequest> = {}): Promise<Seized> {
    const request = this.seizure(token, overrides);
    const answer = await this.executions.seize(request, CALL);
    assertStatus(answer, "seized", "seize");
    return { answer, request, holder: { id: request.id, token: answer.token, nonce: request.nonce } };
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

  /** Asserts that the answer of a call carries this outcome, byte for byte, and returns what it carries. */
  assertOutcome(answer: unknown, expected: StoredOutcome, call: string): CommittedOutcome {
    const { outcome } = (answer ?? {}) as Partial<CommittedOutcome>;
    assertThere(outcome, `the outcome that ${call} answers`);
    assert.equal(outcome.kind, expected.kind, `${call} answers an outcome of the kind ${expected.kind}`);
    assertBytes(outcome.bytes, expected.bytes, call);
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

function share({ exactTime }: Required<StoreCapabilities>): Shared {
  const elapsed = new Elapsed(exactTime);
  const invariants = new Invariants(elapsed);
  return { elapsed, invariants, leaseInvariants: new LeaseInvariants(elapsed), opened: [], nonces: 0 };
}

/** Waits for what has to come, but not for ever: by the machine's clock, since the store's may stand still. */
export async function within<T>(ms: number, awaited: Promise<T>, what: string): Promise<T> {
  let timer: Timer | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    timer = systemClock.setTimer(ms, () => reject(new assert.AssertionError({ message: `${what} within ${ms} ms` })));
  });
  try {
    return await Promise.race([awaited, tooLate]);
  } finally {
    timer?.clear();
  }
}

/** The error of a call that has to fail. */
export async function failureOf(answer: Promise<unknown>): Promise<EvenkeelError> {
  const error = await answer.then(
    () => assert.fail("the call succeeded"),
    (reason: unknown) => reason,
  );
  assert.ok(isEvenkeelError(error), `the call fails with an EvenkeelError, and not with ${String(error)}`);
  return error;
}

/** Asserts that a call fails because a record can't be understood. */
export async function assertCorrupt(answer: Promise<unknown>): Promise<EvenkeelError> {
  const error = await failureOf(answer);
  assert.equal(error.code, "RECORD_CORRUPT");
  return error;
}

/** Asserts that a call is refused by a store that did nothing. */
export async function assertUnavailable(answer: Promise<unknown>): Promise<void> {
  const error = await failureOf(answer);
  assert.equal(error.code, "STORE_UNAVAILABLE");
  assert.equal(error.cause, undefined, "no cause: the store did nothing");
}

function ageless(view: ExecutionView | undefined): object | undefined {
  if (view === undefined) return undefined;
  const { expiresInMs: _expires, leaseRemainingMs: _lease, ...rest } = { leaseRemainingMs: 0, ...view };
  if (!("outcome" in rest)) return rest;
  return { ...rest, outcome: { kind: rest.outcome.kind, bytes: Array.from(rest.outcome.bytes) } };
}
