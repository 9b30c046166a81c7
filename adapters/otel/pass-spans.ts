import { type Attributes, type HrTime, SpanStatusCode, type Tracer } from "@opentelemetry/api";
import { type EvenkeelEvent, errorTypeOf, type ReconcilerEvent } from "../../src/events.ts";
import { timeOf } from "./trace-context.ts";

/** As many events as a span holds unless its SDK is told otherwise. */
const MOST_NOTES = 128;
/** One word, or several with commas between them. Why an answer is unknown may be a message instead, with what it is about. */
const PLAIN_REASON = /^[\w.,-]{1,60}$/;

interface Note {
  readonly name: string;
  readonly attributes: Attributes;
  readonly at: HrTime;
}

/** Spans of passes, one each, with what was done in them as their events. What a pass did not wait for stands in the next one. */
export function passSpans(tracer: Tracer): (event: EvenkeelEvent) => void {
  const notes = new Map<string, Note[]>();

  function note({ reconciler, at }: ReconcilerEvent, name: string, attributes: Attributes): void {
    const noted = notes.get(reconciler) ?? [];
    notes.set(reconciler, noted);
    if (noted.length < MOST_NOTES) noted.push({ name, attributes, at: timeOf(at) });
  }

  function pass(
    { reconciler, at }: ReconcilerEvent,
    { durationMs, attributes, errorType }: { durationMs: number; attributes: Attributes; errorType?: string },
  ): void {
    const span = tracer.startSpan(`reconcile ${reconciler}`, {
      startTime: timeOf(at - durationMs),
      attributes: { "evenkeel.reconciler": reconciler, ...attributes },
    });
    for (const noted of notes.get(reconciler) ?? []) span.addEvent(noted.name, noted.attributes, noted.at);
    notes.delete(reconciler);
    if (errorType !== undefined) {
      span.setAttribute("error.type", errorType);
      span.setStatus({ code: SpanStatusCode.ERROR });
    }
    span.end(timeOf(at));
  }

  return (event) => {
    switch (event.type) {
      case "action_finished":
        return note(event, "action", {
          "evenkeel.action": event.action,
          "evenkeel.reason": event.reason,
          "evenkeel.result": event.result,
          ...(event.result === "failed" ? { "error.type": errorTypeOf(event.error) } : {}),
        });
      case "answer_unknown":
        return note(event, "answer_unknown", { "evenkeel.of": event.of, "error.type": errorTypeOf(event.error) });
      case "condition_changed":
        return note(event, "condition_changed", {
          "evenkeel.condition": event.condition,
          "evenkeel.status": event.status,
          "evenkeel.reason": PLAIN_REASON.test(event.reason) ? event.reason : "_OTHER",
        });
      case "pass_finished": {
        const { durationMs, actions, held, converged } = event;
        const attributes = { "evenkeel.actions": actions, "evenkeel.held": held, "evenkeel.converged": converged };
        return pass(event, { durationMs, attributes });
      }
      case "pass_failed":
        return pass(event, { durationMs: 0, attributes: {}, errorType: errorTypeOf(event.error) });
    }
  };
}
