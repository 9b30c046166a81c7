import Table from "cli-table3";
import type { GroupAnswer, StateAnswer } from "./routes/state.ts";

/** More lines are no longer to be taken in at a glance. */
const MOST_ROWS = 40;

/** How things stand, for people. */
export function drawState({ copy, leader, groups }: StateAnswer): string {
  const lead = leader === null ? "nobody leads" : `${leader.identity} leads, epoch ${leader.epoch}`;
  return [`${copy} says: ${lead}`, ...groups.map(drawGroup)].join("\n\n");
}

function drawGroup({ name, desired, observed, converged, conditions, held, resources }: GroupAnswer) {
  const table = new Table({ head: ["id", "state", "process", "heartbeat", "why"], style: { head: [], border: [] } });
  for (const { id, incarnation, state, externalId = "", heartbeatAgeMs, reason = "" } of resources.slice(
    0,
    MOST_ROWS,
  )) {
    const age = heartbeatAgeMs === undefined ? "none yet" : `${Math.round(heartbeatAgeMs / 1_000)} s ago`;
    table.push([`${id}#${incarnation}`, state, externalId, age, reason]);
  }
  const more = resources.length > MOST_ROWS ? [`and ${resources.length - MOST_ROWS} more`] : [];
  const wrong = conditions.filter(({ type, status }) => status && type !== "Converged");
  return [
    `${name}: ${desired} desired, ${observed["PROVISIONED"] ?? 0} there${converged ? ", as desired" : ""}`,
    ...wrong.map(({ type, reason }) => `  ${type} (${reason})`),
    ...held.slice(0, 5).map(({ type, id, heldBy }) => `  ${type} of ${id} is held by ${heldBy}`),
    table.toString(),
    ...more,
  ].join("\n");
}
