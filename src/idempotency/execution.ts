import { Stopwatch } from "../clock.ts";
import { EvenkeelError, isEvenkeelError } from "../errors.ts";
import { emitTo, errorTypeOf } from "../events.ts";
import { sameFingerprint } from "../execution-record.ts";
import { makeNonce } from "../random.ts";
import type { ClaimResult, CommittedOutcome, StoredOutcome } from "../store.ts";
import { Attempt } from "./attempt.ts";
import { Claimant } from "./claimant.ts";
import type { Execution, ExecutionCall, IdempotentResult } from "./execution-call.ts";
import { keyHashOf, recordId } from "./key.ts";
import { enter, isInside } from "./nesting.ts";
import { outcomeCodec, type Settled } from "./outcome.ts";
import { OutcomeCache } from "./outcome-cache.ts";
import { traceparentOf } from "./sealed-outcome.ts";
import type { ExecutionSettings } from "./settings.ts";
import { unprotectedContext } from "./unprotected-context.ts";
import { type CompletedView, type WaitResult, waitForSettlement } from "./waiting.ts";

/** An answer that is none of the known ones is asked again this often. */
const MOST_ODD_ANSWERS = 5;

/** Runs calls once per record. */
export interface Executor<O> {
  /** @throws EvenkeelError of every code about executions; or what the function threw, unchanged. */
  execute(call: ExecutionCall<O>): Promise<IdempotentResult<O>>;
}

/** What a call is allowed to do. */
type Admission<O> =
  | { readonly kind: "claimed"; readonly attempt: Attempt<O> }
  | { readonly kind: "unprotected"; readonly error: unknown }
  | { readonly kind: "settled"; readonly committed: CommittedOutcome; readonly from: "store" | "cache" | "waiting" };

export function createExecutor<O>(settings: ExecutionSettings<O>): Executor<O> {
  const { store, clock, random, storeTimeoutMs } = settings;
  const codec = outcomeCodec(settings.codec, settings.maxResultBytes);
  const cache = new OutcomeCache(settings.cacheEntries);

  async function execute(call: ExecutionCall<O>): Promise<IdempotentResult<O>> {
    call.signal?.throwIfAborted();
    const id = call.id ?? recordId(call.operation, call.scope, call.key);
    const keyHash = keyHashOf(id);
    const { operation, operationLabel } = call;
    const named = { operation, ...(operationLabel === undefined ? {} : { operationLabel }), keyHash };
    const execution: Execution<O> = {
      settings,
      call,
      id,
      nonce: makeNonce(random),
      codec,
      tell(event) {
        if (settings.onEvent === undefined) return;
        emitTo(settings.onEvent, { ...event, at: clock.now(), ...named });
      },
      enter: (work) => enter(store, id, work),
      remember: (committed, since) => cache.put(id, { fingerprint: call.fingerprint, committed, since }),
    };
    const admitted = await admit(execution).catch((error: unknown) => refused(execution, error));
    switch (admitted.kind) {
      case "claimed":
        return admitted.attempt.run();
      case "unprotected":
        return runUnprotected(execution, admitted.error);
      case "settled":
        return replay(execution, admitted.committed, admitted.from);
    }
  }

  function refused(execution: Execution<O>, error: unknown): never {
    if (isEvenkeelError(error)) tellRejection(execution, error);
    throw error;
  }

  /** From the question to the right to run, or to the outcome that stands. Nothing of the user's runs in here. */
  async function admit(execution: Execution<O>): Promise<Admission<O>> {
    const { call, id } = execution;
    if (isInside(store, id)) {
      throw new EvenkeelError("NESTED_EXECUTION", "This call stands inside the execution that it would wait for.");
    }
    const cached = cache.get(id);
    if (cached !== undefined && sameFingerprint(cached.fingerprint, call.fingerprint)) {
      return { kind: "settled", committed: cached.committed, from: "cache" };
    }
    const claimant = new Claimant(execution);
    try {
      const admission = await claimOrWait(execution, claimant);
      claimant.settle(admission.kind === "claimed" ? admission.attempt.token : undefined);
      return admission;
    } catch (error) {
      claimant.settle(undefined);
      throw error;
    }
  }

  async function claimOrWait(execution: Execution<O>, claimant: Claimant<O>): Promise<Admission<O>> {
    const { call } = execution;
    const startedAt = clock.monotonic();
    let turn: Extract<WaitResult, { kind: "turn" }> | undefined;
    for (let oddAnswers = 0; oddAnswers < MOST_ODD_ANSWERS; ) {
      const sentAt = new Stopwatch(clock);
      let claim: ClaimResult;
      try {
        claim = await claimant.send();
      } catch (error) {
        if (settings.onStoreError !== "open" || !isUnavailable(error)) throw error;
        return { kind: "unprotected", error };
      } finally {
        turn?.done();
        turn = undefined;
      }
      switch (claim.status) {
        case "acquired": {
          const attempt = new Attempt(execution, claim, sentAt);
          oddAnswers += 1;
          const isTooLate = !attempt.held && oddAnswers === MOST_ODD_ANSWERS;
          if (call.signal?.aborted || isTooLate) {
            await giveBack(execution, attempt);
            call.signal?.throwIfAborted();
            break;
          }
          if (attempt.held) return { kind: "claimed", attempt };
          // The answer took longer than the lease: ask again under the same nonce before anything runs.
          attempt.discard();
          break;
        }
        case "completed":
          execution.remember(claim, sentAt);
          return { kind: "settled", committed: claim, from: "store" };
        case "mismatch":
          throw mismatch();
        case "abandoned":
          throw new EvenkeelError("ABANDONED", "An earlier attempt fell silent, and nobody knows what came of it.");
        case "running": {
          if (settings.inFlight === "reject") throw inProgress(claim.leaseRemainingMs);
          const waited = await wait(execution, startedAt);
          if (waited.kind === "completed") return settledBy(execution, waited.view, sentAt);
          turn = waited;
          break;
        }
        default:
          oddAnswers += 1;
      }
    }
    throw inProgress(settings.leaseMs);
  }

  /** A claim under which nothing ran is undone; if that fails, its lease runs out. */
  async function giveBack({ tell }: Execution<O>, attempt: Attempt<O>): Promise<void> {
    try {
      await attempt.giveBack();
    } catch (error) {
      tell({ type: "store_error", error, ranUnprotected: false });
    }
  }

  async function wait({ call, id, tell }: Execution<O>, startedAt: number): Promise<WaitResult> {
    const { maxWaitMs, maxWaiters } = settings;
    let outcome: "settled" | "timeout" | "aborted" | "failed" = "aborted";
    try {
      const timeoutMs = maxWaitMs - (clock.monotonic() - startedAt);
      const { signal } = call;
      const waited = await waitForSettlement({
        store,
        id,
        clock,
        random,
        storeTimeoutMs,
        timeoutMs,
        maxWaiters,
        signal,
      });
      outcome = "settled";
      return waited;
    } catch (error) {
      if (isEvenkeelError(error)) outcome = error.code === "WAIT_TIMEOUT" ? "timeout" : "failed";
      throw error;
    } finally {
      tell({ type: "waited", durationMs: clock.monotonic() - startedAt, outcome });
    }
  }

  function settledBy(execution: Execution<O>, view: CompletedView, askedAt: Stopwatch): Admission<O> {
    // Another payload may have got the key after the one that was waited for released it.
    if (!sameFingerprint(view.fingerprint, execution.call.fingerprint)) throw mismatch();
    execution.remember(view, askedAt);
    return { kind: "settled", committed: view, from: "waiting" };
  }

  function replay(
    execution: Execution<O>,
    { outcome, attempt, completedAt }: CommittedOutcome,
    from: "store" | "cache" | "waiting",
  ): IdempotentResult<O> {
    const settled = decode(execution, outcome);
    const traceparent = traceparentOf(outcome);
    execution.tell({
      type: "replayed",
      from,
      ...(traceparent === undefined ? {} : { traceparent }),
      ...(settled.ok ? {} : { errorType: errorTypeOf(settled.error) }),
    });
    if (!settled.ok) throw settled.error;
    return { value: settled.value as O, replayed: true, attempt, completedAt };
  }

  function decode(execution: Execution<O>, outcome: StoredOutcome): Settled {
    try {
      return codec.decode(execution.id, outcome);
    } catch (error) {
      return refused(execution, error);
    }
  }

  async function runUnprotected({ call, id, tell }: Execution<O>, error: unknown): Promise<IdempotentResult<O>> {
    tell({ type: "store_error", error, ranUnprotected: true });
    const value = await call.run(unprotectedContext(call, id));
    return { value, replayed: false, attempt: 1, completedAt: clock.now() };
  }

  return { execute };
}

function tellRejection(execution: Execution<unknown>, error: EvenkeelError): void {
  if (error.code === "FINGERPRINT_MISMATCH") execution.tell({ type: "mismatch" });
  else if (isUnavailable(error)) execution.tell({ type: "store_error", error, ranUnprotected: false });
  else execution.tell({ type: "rejected", code: error.code });
}

function isUnavailable(error: unknown): boolean {
  return isEvenkeelError(error) && error.code === "STORE_UNAVAILABLE";
}

function mismatch(): EvenkeelError {
  return new EvenkeelError("FINGERPRINT_MISMATCH", "This idempotency key was used with another input.");
}

function inProgress(retryAfterMs: number): EvenkeelError {
  return new EvenkeelError("IN_PROGRESS", "An execution with this idempotency key is under way.", { retryAfterMs });
}
