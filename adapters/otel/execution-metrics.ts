import type { Meter } from "@opentelemetry/api";
import type { EvenkeelEvent, ExecutionEvent, LeaseLossReason } from "../../src/events.ts";
import { attemptOf, endOf, isExecutionEvent, operationOf } from "./attempt-end.ts";
import { openAttempts } from "./open-attempts.ts";
import { counter, durations, level, onFirstSight, zeros } from "./series.ts";

const KINDS = ["first", "takeover"] as const;
const SOURCES: readonly Extract<ExecutionEvent, { type: "replayed" }>["from"][] = ["store", "cache", "waiting"];
const LOSSES: readonly LeaseLossReason[] = ["deadline", "lost", "missing", "finalized"];
const BURIALS: readonly Extract<ExecutionEvent, { type: "tombstoned" }>["reason"][] = ["not_encodable", "too_large"];
/** Those that somebody has to notice at their first; others begin with it. */
const REJECTIONS = [
  "IN_PROGRESS",
  "WAIT_TIMEOUT",
  "TOO_MANY_WAITERS",
  "ABANDONED",
  "RESULT_NOT_REPLAYABLE",
  "RECORD_CORRUPT",
] as const;

/** The metrics `idempotency_*`. */
export function executionMetrics(meter: Meter): (event: EvenkeelEvent) => void {
  const claims = counter(meter, { name: "idempotency_claims_total", help: "Attempts that got their claim." });
  const completions = counter(meter, {
    name: "idempotency_completions_total",
    help: "Attempts whose outcome became durable.",
  });
  const releases = counter(meter, {
    name: "idempotency_releases_total",
    help: "Attempts that threw, whose answer was not to be kept, or that only granted a retry: their key is free again.",
  });
  const replays = counter(meter, { name: "idempotency_replays_total", help: "Calls that got a stored outcome." });
  const rejections = counter(meter, {
    name: "idempotency_rejections_total",
    help: "Calls that were turned away without a run, by the code of their error.",
  });
  const mismatches = counter(meter, {
    name: "idempotency_mismatches_total",
    help: "Calls that came with the key of another input.",
  });
  const leaseLosses = counter(meter, {
    name: "idempotency_lease_losses_total",
    help: "Attempts whose claim was no longer theirs, or could not be shown to be.",
  });
  const staleWrites = counter(meter, {
    name: "idempotency_stale_writes_total",
    help: "Outcomes of stale attempts that were refused.",
  });
  const completeFailures = counter(meter, {
    name: "idempotency_complete_failures_total",
    help: "Outcomes that could not be made durable. Their claims stay until their leases run out.",
  });
  const tombstones = counter(meter, {
    name: "idempotency_tombstones_total",
    help: "Outcomes that can't be replayed, by why.",
  });
  const ignored = counter(meter, {
    name: "idempotency_outcomes_ignored_total",
    help: "Outcomes that differed from what the function had made durable before.",
  });
  const storeErrors = counter(meter, {
    name: "idempotency_store_errors_total",
    help: "Calls whose store failed for good; unprotected: the function ran without a claim.",
  });
  const inFlight = level(meter, {
    name: "idempotency_in_flight",
    help: "Attempts of this process that have not ended.",
  });
  const took = durations(meter, {
    name: "idempotency_execution_duration_seconds",
    help: "How long attempts took, from their claim to their end, in seconds.",
  });
  const waited = durations(meter, {
    name: "idempotency_wait_duration_seconds",
    help: "How long duplicates waited for the outcome of another call, in seconds.",
  });

  const meet = onFirstSight((labels: { operation: string }) => {
    zeros(claims, labels, "kind", KINDS);
    for (const plain of [completions, releases, mismatches, staleWrites, completeFailures, ignored, inFlight])
      zeros(plain, labels);
    zeros(replays, labels, "from", SOURCES);
    zeros(rejections, labels, "code", REJECTIONS);
    zeros(leaseLosses, labels, "reason", LOSSES);
    zeros(tombstones, labels, "reason", BURIALS);
    zeros(storeErrors, labels, "unprotected", ["false", "true"]);
  });
  const open = openAttempts<{ readonly since: number; isLeaseLost: boolean }>();

  function count(event: ExecutionEvent, labels: { operation: string }): void {
    switch (event.type) {
      case "claimed":
        return claims.add(1, { ...labels, kind: "first" });
      case "taken_over":
        return claims.add(1, { ...labels, kind: "takeover" });
      case "completed":
        return completions.add(1, labels);
      case "released":
        return releases.add(1, labels);
      case "tombstoned":
        return tombstones.add(1, { ...labels, reason: event.reason });
      case "outcome_ignored":
        return ignored.add(1, labels);
      case "stale_write":
        return staleWrites.add(1, labels);
      case "complete_failed":
        return completeFailures.add(1, labels);
      case "replayed":
        return replays.add(1, { ...labels, from: event.from });
      case "waited":
        return waited.record(event.durationMs, { ...labels, outcome: event.outcome });
      case "rejected":
        return rejections.add(1, { ...labels, code: event.code });
      case "mismatch":
        return mismatches.add(1, labels);
      case "store_error":
        return storeErrors.add(1, { ...labels, unprotected: String(event.ranUnprotected) });
      case "lease_lost": {
        // It may be told when it is noticed and again when the attempt ends.
        const known = open.get(attemptOf(event) ?? "");
        if (known?.isLeaseLost) return;
        if (known !== undefined) known.isLeaseLost = true;
        return leaseLosses.add(1, { ...labels, reason: event.reason });
      }
    }
  }

  function follow(event: ExecutionEvent, labels: { operation: string }): void {
    const attempt = attemptOf(event);
    if (attempt === undefined) return;
    if (event.type === "claimed" || event.type === "taken_over") {
      inFlight.add(1, labels);
      open.begin(attempt, { since: event.at, isLeaseLost: false });
      return;
    }
    const end = endOf(event);
    if (end === undefined) return;
    inFlight.add(-1, labels);
    const known = open.end(attempt);
    const { outcome } = end;
    if (event.type === "completed") took.record(event.durationMs, { ...labels, outcome });
    else if (known !== undefined) took.record(event.at - known.since, { ...labels, outcome });
  }

  return (event) => {
    if (!isExecutionEvent(event)) return;
    const labels = { operation: operationOf(event) };
    meet(labels);
    count(event, labels);
    follow(event, labels);
  };
}
