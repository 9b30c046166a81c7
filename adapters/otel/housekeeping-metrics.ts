import type { Meter } from "@opentelemetry/api";
import type { EvenkeelEvent } from "../../src/events.ts";
import { counter, zeros } from "./series.ts";

/** What belongs to a ledger as a whole. */
export function housekeepingMetrics(meter: Meter): (event: EvenkeelEvent) => void {
  const purged = counter(meter, {
    name: "idempotency_purged_records_total",
    help: "Expired records that were deleted.",
  });
  const unknown = counter(meter, {
    name: "store_settings_unknown_total",
    help: "Settings of a server on which guarantees rest, and which it would not tell.",
  });
  zeros(purged, {});

  return (event) => {
    if (event.type === "purged") purged.add(event.count);
    else if (event.type === "store_setting_unknown") unknown.add(1, { store: event.store, setting: event.setting });
  };
}
