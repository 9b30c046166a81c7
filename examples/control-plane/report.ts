import type { EvenkeelEvent } from "evenkeel";

/** Tells people on stdout what happens. */
export function report(event: EvenkeelEvent): void {
  const line = lineOf(event);
  if (line !== undefined) console.log(line);
}

function lineOf(event: EvenkeelEvent): string | undefined {
  switch (event.type) {
    case "action_finished": {
      const { action, id, incarnation, reason, result, error } = event;
      return `${action} ${id}#${incarnation} (${reason}): ${result}${error === undefined ? "" : `, ${error}`}`;
    }
    case "condition_changed":
      return `${event.reconciler}: ${event.condition} is ${event.status} (${event.reason})`;
    case "answer_unknown":
    case "pass_failed":
      return `${event.type}: ${event.error}`;
    case "leader_started":
      return `leads, epoch ${event.epoch}`;
    case "leader_stopped":
      return `leads no longer, epoch ${event.epoch} (${event.reason})`;
    default:
      return undefined;
  }
}
