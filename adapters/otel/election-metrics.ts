import type { Meter } from "@opentelemetry/api";
import type { CoordinationEvent, EvenkeelEvent, LeaderStopReason } from "../../src/events.ts";
import { counter, gauge, level, onFirstSight, zeros } from "./series.ts";

const REASONS: readonly LeaderStopReason[] = ["deadline", "lost", "missing", "stopped", "failed"];
const FAILURES: readonly Extract<CoordinationEvent, { type: "leader_error" }>["of"][] = [
  "store",
  "onStartedLeading",
  "onStoppedLeading",
  "onNewLeader",
];

/** The metrics `election_*`. */
export function electionMetrics(meter: Meter): (event: EvenkeelEvent) => void {
  const leading = level(meter, {
    name: "election_leading",
    help: "1 where this process leads. Over all processes it is 1, and 0 while nobody does.",
  });
  const epoch = gauge(meter, { name: "election_epoch", help: "The epoch of the leader that was seen last." });
  const changes = counter(meter, { name: "election_changes_total", help: "Leaders that this process saw come." });
  const ends = counter(meter, {
    name: "election_leaderships_ended_total",
    help: "Leaderships of this process that ended, by why.",
  });
  const errors = counter(meter, { name: "election_errors_total", help: "What failed in an election, by what it was." });

  const meet = onFirstSight((labels: { election: string }) => {
    zeros(leading, labels);
    zeros(changes, labels);
    zeros(ends, labels, "reason", REASONS);
    zeros(errors, labels, "of", FAILURES);
  });

  return (event) => {
    if (!("election" in event)) return;
    const labels = { election: event.election };
    meet(labels);
    switch (event.type) {
      case "leader_started":
        return leading.add(1, labels);
      case "leader_stopped":
        leading.add(-1, labels);
        return ends.add(1, { ...labels, reason: event.reason });
      case "leader_observed":
        epoch.record(event.epoch, labels);
        return changes.add(1, labels);
      case "leader_error":
        return errors.add(1, { ...labels, of: event.of });
    }
  };
}
