import { onAbort } from "../abort-listeners.ts";
import { Stopwatch } from "../clock.ts";
import { EvenkeelError } from "../errors.ts";
import { dropRejection } from "../rejections.ts";
import type { AcquiredClaim, ReleaseRequest } from "../store.ts";
import type { Execution, IdempotentResult } from "./execution-call.ts";
import { ClaimedContext } from "./execution-context.ts";
import { Lease } from "./lease-renewal.ts";
import type { Settled } from "./outcome.ts";
import type { AbandonedDecision, AbandonedExecution } from "./settings.ts";
import { leaseLost, Settlement } from "./settlement.ts";

type Resolver<O> = (record: AbandonedExecution) => AbandonedDecision<O> | Promise<AbandonedDecision<O>>;

/** One attempt: from a claim that was granted, through the function under a renewed lease, to its settlement. */
export class Attempt<O> {
  readonly #execution: Execution<O>;
  readonly #claim: AcquiredClaim;
  readonly #lease: Lease;
  readonly #settlement: Settlement<O>;
  readonly #context: ClaimedContext;

  /** @param sentAt - started before the claim was sent. */
  constructor(execution: Execution<O>, claim: AcquiredClaim, sentAt: Stopwatch) {
    const { settings, call, id, nonce, codec } = execution;
    const { store, clock, random, leaseMs, retentionMs, storeTimeoutMs } = settings;
    const holder = { id, token: claim.token, nonce };
    this.#execution = execution;
    this.#claim = claim;
    this.#lease = new Lease(
      {
        store,
        holder,
        leaseMs,
        retentionMs,
        storeTimeoutMs,
        clock,
        random,
        onLost: (reason) => {
          this.#settlement.tellLeaseLost(reason);
          this.#context.onLeaseLost(leaseLost());
        },
      },
      sentAt,
      claim.leaseRemainingMs,
    );
    const settlement = new Settlement(execution, holder, claim.attempt, this.#lease, new Stopwatch(clock));
    this.#settlement = settlement;
    this.#context = new ClaimedContext({
      id,
      operation: call.operation,
      scope: call.scope,
      key: call.key,
      store,
      nonce,
      claim,
      retentionMs,
      codec,
      callerSignal: call.signal,
      commit: async (outcome) => {
        const result = await settlement.commit(outcome);
        // Nothing is left to hold.
        if (result.status === "committed") this.#lease.stop();
        return result;
      },
      traced: (outcome) => settlement.traced(outcome),
      rememberStep: async (step) => {
        const result = await settlement.ask((bounds) => store.executions.recordStep({ ...holder, step }, bounds));
        if (result.status === "lost" || result.status === "missing") throw leaseLost();
      },
      onIgnored: () => settlement.tell({ type: "outcome_ignored" }),
    });
  }

  get token(): number {
    return this.#claim.token;
  }

  /** Whether the claim is still good by our own deadline. */
  get held(): boolean {
    return this.#lease.leftMs() > 0;
  }

  /** Lets go of a claim that is about to be asked for again. */
  discard(): void {
    this.#context.close();
  }

  /** Gives a claim back whose function never started. */
  async giveBack(): Promise<void> {
    this.#context.close();
    await this.#settlement.release(asBefore(this.#claim, this.#execution.settings.retentionMs));
  }

  async run(): Promise<IdempotentResult<O>> {
    const { stopRenewing } = this.#execution.call;
    this.#settlement.begin();
    this.#lease.start();
    const stopListening = onAbort(stopRenewing, () => this.#lease.stop());
    try {
      const known = await this.#askResolver();
      if (known !== undefined) {
        return { ...(await this.#settlement.succeed(known.completed, this.#context)), replayed: true };
      }
      const settled = await this.#callFunction();
      return settled.ok
        ? await this.#settlement.succeed(settled.value, this.#context)
        : await this.#settlement.fail(settled.error, this.#context);
    } finally {
      stopListening();
      this.#lease.stop();
      this.#context.close();
    }
  }

  async #callFunction(): Promise<Settled<O>> {
    const { enter, call } = this.#execution;
    try {
      return { ok: true, value: await enter(() => call.run(this.#context)) };
    } catch (error) {
      return { ok: false, error };
    }
  }

  /**
   * Asks what became of the attempt before, where that fell silent, while this one keeps everybody else out. Undefined: run.
   * @throws EvenkeelError `ABANDONED`, with the resolver's error as its cause; the record is as it was before.
   */
  async #askResolver(): Promise<{ completed: O } | undefined> {
    const { onAbandoned } = this.#execution.settings;
    const { abandonedAt } = this.#claim;
    if (abandonedAt === undefined || typeof onAbandoned !== "function") return undefined;
    let options: ErrorOptions = {};
    try {
      const decision = await this.#execution.enter(() => (onAbandoned as Resolver<O>)(this.#abandoned(abandonedAt)));
      if (decision === "retry") return undefined;
      if (typeof decision === "object" && decision !== null && "completed" in decision)
        return known(decision.completed);
      if (decision !== "unknown") throw new TypeError("The resolver returned no decision.");
    } catch (cause) {
      options = { cause };
    }
    try {
      await this.#settlement.release(asBefore(this.#claim, this.#execution.settings.retentionMs));
    } catch (error) {
      this.#settlement.tellStoreError(error);
      throw error;
    }
    this.#settlement.tellRejected("ABANDONED");
    throw new EvenkeelError("ABANDONED", "An earlier attempt fell silent, and nobody knows what came of it.", options);
  }

  #abandoned(leaseExpiredAt: number): AbandonedExecution {
    const { call, codec, id } = this.#execution;
    // Stores keep parallel steps as they finished; their order is that in which they were started.
    const inOrder = [...this.#claim.steps].sort((a, b) => a.position - b.position);
    const steps = inOrder.map(({ name, outcome }) => {
      const settled = outcome.kind === "value" ? codec.decode(id, outcome) : undefined;
      return { name, value: settled?.ok ? settled.value : undefined };
    });
    const { operation, scope, key } = call;
    return { operation, scope, key, attempt: this.#claim.attempt - 1, steps, leaseExpiredAt };
  }
}

/** What a resolver knows; a promise that it did not await would be stored as what can't be replayed. */
function known<O>(completed: O): { completed: O } {
  if (!(completed instanceof Promise)) return { completed };
  dropRejection(completed);
  throw new TypeError("What the resolver returned as completed is a promise: it has to be awaited first.");
}

/** How to release a claim so that the record is as if it had never been granted. */
export function asBefore({ attempt, abandonedAt }: AcquiredClaim, retentionMs: number): ReleaseRequest["as"] {
  if (attempt === 1) return { mode: "forget" };
  if (abandonedAt === undefined) return { mode: "retry", attempt: attempt - 1, retentionMs };
  return { mode: "abandon", attempt: attempt - 1, leaseExpiredAt: abandonedAt, retentionMs };
}
