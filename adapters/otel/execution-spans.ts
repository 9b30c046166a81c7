import { type Attributes, type Span, SpanStatusCode, type Tracer } from "@opentelemetry/api";
import type { EvenkeelEvent, ExecutionEvent } from "../../src/events.ts";
import {
  type AttemptEnd,
  type AttemptIdentity,
  attemptOf,
  endOf,
  isExecutionEvent,
  operationOf,
} from "./attempt-end.ts";
import { openAttempts } from "./open-attempts.ts";
import { isSampled, spanContextOf, timeOf, traceparentOf } from "./trace-context.ts";

type EventOf<T extends ExecutionEvent["type"]> = Extract<ExecutionEvent, { type: T }>;

/**
 * Spans of executions: one an attempt, one a replay, which is linked to the attempt whose outcome it is, wherever and whenever that ran,
 * and one for each wait. Their parent is what is active where the call was made.
 */
export function executionSpans(tracer: Tracer): (event: EvenkeelEvent) => void {
  const open = openAttempts<Span>((span) => span.end());

  function begin(event: EventOf<"claimed" | "taken_over">, attempt: AttemptIdentity): void {
    const operation = operationOf(event);
    const span = tracer.startSpan(`execute ${operation}`, {
      startTime: timeOf(event.at),
      attributes: {
        "evenkeel.operation": operation,
        "evenkeel.attempt": event.attempt,
        "evenkeel.fencing_token": event.fencingToken,
      },
    });
    // One that nobody records may be no more than its parent again.
    if (!span.isRecording()) return;
    open.begin(attempt, span);
    if (isSampled(span.spanContext())) event.keepTraceparent?.(traceparentOf(span.spanContext()));
  }

  function end(span: Span, { outcome, errorType }: AttemptEnd, at: number): void {
    span.setAttribute("evenkeel.outcome", outcome);
    if (errorType !== undefined) fail(span, errorType);
    span.end(timeOf(at));
  }

  function replay(event: EventOf<"replayed">): void {
    const { at, from, traceparent, errorType } = event;
    const operation = operationOf(event);
    const first = spanContextOf(traceparent);
    const span = tracer.startSpan(`replay ${operation}`, {
      startTime: timeOf(at),
      attributes: { "evenkeel.operation": operation, "evenkeel.replayed_from": from },
      links: first === undefined ? [] : [{ context: first }],
    });
    if (errorType !== undefined) fail(span, errorType);
    span.end(timeOf(at));
  }

  function wait(event: EventOf<"waited">): void {
    const { at, durationMs, outcome } = event;
    const operation = operationOf(event);
    const span = tracer.startSpan(`wait ${operation}`, {
      startTime: timeOf(at - durationMs),
      attributes: { "evenkeel.operation": operation, "evenkeel.wait_outcome": outcome },
    });
    if (outcome === "timeout" || outcome === "failed") fail(span, outcome === "timeout" ? "WAIT_TIMEOUT" : "_OTHER");
    span.end(timeOf(at));
  }

  return (event) => {
    if (!isExecutionEvent(event)) return;
    if (event.type === "replayed") return replay(event);
    if (event.type === "waited") return wait(event);
    const attempt = attemptOf(event);
    if (attempt === undefined) return;
    if (event.type === "claimed" || event.type === "taken_over") return begin(event, attempt);
    const span = open.get(attempt);
    if (span === undefined) return;
    const attributes = noteOf(event);
    if (attributes !== undefined) span.addEvent(event.type, attributes, timeOf(event.at));
    const ending = endOf(event);
    if (ending === undefined) return;
    open.end(attempt);
    end(span, ending, event.at);
  };
}

function fail(span: Span, errorType: string): void {
  span.setAttribute("error.type", errorType);
  span.setStatus({ code: SpanStatusCode.ERROR });
}

/** What stands in an attempt's span as an event of it. */
function noteOf(event: ExecutionEvent): Attributes | undefined {
  if (event.type === "lease_lost" || event.type === "tombstoned") return { "evenkeel.reason": event.reason };
  return event.type === "outcome_ignored" ? {} : undefined;
}
