import { Stopwatch } from "../clock.ts";
import { callUnderLease, type LeasedCallResult } from "../resources/leased-call.ts";
import type { ActionContext, ResourceRecord } from "../resources/resource.ts";
import { resourceOf } from "../resources/resource-of.ts";
import type { ResourceRow } from "../store.ts";
import type { Acting, Verdict } from "./executor-terms.ts";
import type { Written } from "./executor-writes.ts";

/** How long a callback that is told to stop may take to say what it has done. */
const STOP_GRACE_MS = 1_000;

/** A row of which we hold the lease. */
export interface Held {
  readonly row: ResourceRow;
  /** Started before the lease was asked for. */
  readonly since: Stopwatch;
}

/** The lease that each row gets that is acted on. */
export function grantOf<Spec>({ terms }: Acting<Spec>) {
  return { durationMs: terms.leaseMs, token: "grant" } as const;
}

/** Takes the lease of a row by a write, after which the slot must still be ours: nothing is done for another. */
export async function hold<Spec>(
  { terms: { clock, gate } }: Acting<Spec>,
  write: () => Promise<Written>,
): Promise<({ readonly status: "held" } & Held) | Extract<Written, { status: "ended" }>> {
  const since = new Stopwatch(clock);
  const written = await write();
  if (written.status === "ended") return written;
  const { row } = written;
  if (!gate.isAllowed(row.id)) return { status: "ended", verdict: { result: "fenced", row } };
  return { status: "held", row, since };
}

export interface Effect<Spec> {
  readonly key: string;
  readonly callback: (resource: ResourceRecord<Spec>, context: ActionContext) => unknown;
  /** Defaults to `actionTimeoutMs`. */
  readonly timeoutMs?: number;
}

/** How a callback ended whose row may be written still. */
export type EffectResult = Exclude<LeasedCallResult<unknown>, { status: "lost" }>;

/**
 * Calls back under the lease.
 * @throws EvenkeelError `STORE_UNAVAILABLE` when the lease could not be renewed because the store failed.
 */
export async function act<Spec>(
  { terms, writer, signal, stop }: Acting<Spec>,
  { row, since }: Held,
  { key, callback, timeoutMs = terms.actionTimeoutMs }: Effect<Spec>,
): Promise<EffectResult | { readonly status: "ended"; readonly verdict: Verdict }> {
  const { clock, leaseMs, gate } = terms;
  const result = await callUnderLease({
    writer,
    row,
    leaseMs,
    grantedSince: since,
    timeoutMs,
    clock,
    signal,
    ...(stop === undefined ? {} : { stop: { signal: stop, graceMs: STOP_GRACE_MS } }),
    gate: () => gate.isAllowed(row.id),
    call: (callSignal) => {
      const { fencingToken, attempt } = row;
      const context: ActionContext = { idempotencyKey: key, fencingToken, attempt, signal: callSignal };
      return callback(resourceOf<Spec>(row), Object.freeze(context));
    },
  });
  if (result.status !== "lost") return result;
  if (result.fencedBy !== undefined || !gate.isAllowed(row.id))
    return { status: "ended", verdict: { result: "fenced" } };
  if (result.error !== undefined) throw result.error;
  return { status: "ended", verdict: { result: "lost", ...(result.found === undefined ? {} : { row: result.found }) } };
}

/** The failure of a callback that did not return. */
export function failureOf(result: Exclude<EffectResult, { status: "returned" }>): Verdict {
  const { status, error } = result;
  return { result: "failed", error, ...(status === "threw" ? {} : { timedOut: true }) };
}
