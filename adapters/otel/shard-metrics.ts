import type { Meter } from "@opentelemetry/api";
import type { EvenkeelEvent, ShardEvent, ShardStopReason } from "../../src/events.ts";
import { counter, gauge, level, onFirstSight, zeros } from "./series.ts";

const REASONS: readonly ShardStopReason[] = ["moved", "stopped", "failed", "deadline", "lost", "missing"];
const FAILURES: readonly Extract<ShardEvent, { type: "shard_error" }>["of"][] = ["store", "onAssigned", "onRevoked"];

/** The metrics `shards_*`. */
export function shardMetrics(meter: Meter): (event: EvenkeelEvent) => void {
  const held = level(meter, { name: "shards_held", help: "Shards that a member of this process holds." });
  const members = gauge(meter, { name: "shards_members", help: "Members of the division that were seen last." });
  const assigned = counter(meter, { name: "shards_assigned_total", help: "Shards that came to a member." });
  const revoked = counter(meter, { name: "shards_revoked_total", help: "Shards that left a member, by why." });
  const refused = counter(meter, {
    name: "shards_refusals_total",
    help: "How often a member could not take part: its name is in use, or others divide into another number of shards.",
  });
  const errors = counter(meter, { name: "shards_errors_total", help: "What failed in a division, by what it was." });

  const meet = onFirstSight((labels: { division: string; member: string }) => {
    for (const plain of [held, assigned, refused]) zeros(plain, labels);
    zeros(revoked, labels, "reason", REASONS);
    zeros(errors, labels, "of", FAILURES);
  });

  return (event) => {
    if (!("division" in event)) return;
    const labels = { division: event.division, member: event.member };
    meet(labels);
    switch (event.type) {
      case "members_changed":
        return members.record(event.members.length, labels);
      case "shard_assigned":
        held.add(1, labels);
        return assigned.add(1, labels);
      case "shard_revoked":
        held.add(-1, labels);
        return revoked.add(1, { ...labels, reason: event.reason });
      case "membership_refused":
        return refused.add(1, labels);
      case "shard_error":
        return errors.add(1, { ...labels, of: event.of });
    }
  };
}
