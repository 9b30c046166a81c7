import { EvenkeelError, isEvenkeelError } from "../errors.ts";
import { acceptOptions, type OptionRules, rules } from "../option-rules.ts";
import { optionsSchema, parseOptions } from "../options.ts";
import { createExecutor } from "./execution.ts";
import type { IdempotentResult } from "./execution-call.ts";
import type { ExecutionContext } from "./execution-context.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { acceptKey, acceptScope } from "./key.ts";
import { executionSettings, IDEMPOTENCY_RULES, type IdempotencyOptions } from "./settings.ts";

/** What one call may say of itself; it wins over the options. */
export interface CallOptions {
  readonly key?: string | undefined;
  readonly scope?: string | undefined;
  /** Ends this caller's waiting with its reason; when this call runs the function it aborts `ctx.signal`. */
  readonly signal?: AbortSignal | undefined;
}

/** A function that runs once per key. */
export interface IdempotentFunction<I, O> {
  /** The value. */
  (input: I, call?: CallOptions): Promise<O>;
  /** The value, and where it came from. */
  run(input: I, call?: CallOptions): Promise<IdempotentResult<O>>;
}

const SCHEMA = optionsSchema(IDEMPOTENCY_RULES, ["store", "operation"]);

/** Key and scope have rules and errors of their own. */
const ANY = rules.custom("anything", () => true);
const CALL_RULES: OptionRules = { key: ANY, scope: ANY, signal: rules.signal };

/**
 * Makes a function run once per (operation, scope, key) within its retention, and gives every caller the same outcome:
 * callers at the same time, after a crash, and in other processes.
 *
 * Not promised: that two executions never overlap in time. A process that is paused past its lease may go on beside the one
 * that took over; its outcome is then refused. An effect happens exactly once when it is in one transaction with
 * `ctx.complete(value, tx)`, when its target checks `ctx.fencingToken`, or when its target takes `ctx.deriveKey()`.
 *
 * @throws EvenkeelError `INVALID_OPTIONS` at once. A call rejects with any code of `docs/errors.md`, or with what the
 * function threw, unchanged.
 * @example
 * ```ts
 * import { withIdempotency } from "evenkeel";
 * import { sqliteStore } from "evenkeel/sqlite";
 *
 * const charge = withIdempotency(
 *   async (order: { amount: number }, ctx) => bank.charge(order.amount, { idempotencyKey: ctx.deriveKey("charge") }),
 *   { store: sqliteStore("ledger.db"), operation: "charge" },
 * );
 * await charge({ amount: 100 }, { key: "order-17" });
 * await charge({ amount: 100 }, { key: "order-17" }); // the same outcome, and no second charge
 * ```
 */
export function withIdempotency<I, O>(
  fn: (input: I, ctx: ExecutionContext) => O | Promise<O>,
  options: IdempotencyOptions<I, O>,
): IdempotentFunction<I, O> {
  if (typeof fn !== "function") throw new EvenkeelError("INVALID_OPTIONS", "withIdempotency: fn must be a function.");
  parseOptions("withIdempotency", SCHEMA, options);
  // Taken now: what the user does to the options afterwards changes nothing.
  const { operation, scope = "", key: keyOf, fingerprint: choose } = options;
  const executor = createExecutor<O>(executionSettings(options));

  function fingerprint(input: I): string | undefined {
    if (choose === false) return undefined;
    try {
      return fingerprintOf(choose === undefined ? input : choose(input));
    } catch (cause) {
      if (isEvenkeelError(cause)) throw cause;
      throw new EvenkeelError("INVALID_FINGERPRINT", "The input can't be fingerprinted: reading it failed.", { cause });
    }
  }

  async function run(input: I, call: CallOptions = {}): Promise<IdempotentResult<O>> {
    acceptOptions("withIdempotency: the call", CALL_RULES, call);
    const { signal } = call;
    signal?.throwIfAborted();
    const callScope = acceptScope(call.scope ?? (typeof scope === "function" ? scope(input) : scope));
    // Frozen before anything is awaited, so that nobody can change the input in between.
    const frozen = fingerprint(input);
    const key = acceptKey(call.key ?? (await keyOf?.(input)));
    return executor.execute({
      operation,
      scope: callScope,
      key,
      fingerprint: frozen,
      signal,
      run: (ctx) => fn(input, ctx),
    });
  }

  const once = async (input: I, call?: CallOptions): Promise<O> => (await run(input, call)).value;
  return Object.assign(once, { run });
}
