import { PRESENT, STATES, type State } from "./resource-states.ts";

/** How much of the past the chart shows, in minutes. */
export const SPANS: readonly number[] = [5, 15, 60];
const DEFAULT_SPAN = 5;

/** Rows of one window. */
export const WINDOW_ROWS = 50;

/** What is looked at: it stands behind the `#`, so that it can be passed on and returned to. */
export interface PageAddress {
  readonly group?: string | undefined;
  readonly states: readonly State[];
  /** The cursor behind which the window begins; absent for the first. */
  readonly after?: string | undefined;
  readonly spanMinutes: number;
}

/** Reads what stands behind the `#`. What makes no sense is as if it weren't there. */
export function readAddress(hash: string): PageAddress {
  const parameters = new URLSearchParams(hash.replace(/^#/, ""));
  const asked = parameters.get("states")?.split(",");
  const states = asked === undefined ? PRESENT : STATES.filter((state) => asked.includes(state));
  const span = Number(parameters.get("minutes"));
  return {
    group: parameters.get("group") ?? undefined,
    states: states.length === 0 ? PRESENT : states,
    after: parameters.get("after") || undefined,
    spanMinutes: SPANS.includes(span) ? span : DEFAULT_SPAN,
  };
}

/** The opposite of {@link readAddress}: no more than what differs from the defaults. */
export function hashOf({ group, states, after, spanMinutes }: PageAddress): string {
  const parameters = new URLSearchParams();
  if (group !== undefined) parameters.set("group", group);
  if (states.join() !== PRESENT.join()) parameters.set("states", states.join());
  if (after !== undefined) parameters.set("after", after);
  if (spanMinutes !== DEFAULT_SPAN) parameters.set("minutes", String(spanMinutes));
  return `#${parameters}`;
}

/** The stream that tells of it, relative to the page. */
export function streamOf({ group, states, after }: PageAddress): string {
  const parameters = new URLSearchParams();
  if (group !== undefined) {
    parameters.set("group", group);
    parameters.set("states", states.join());
    parameters.set("limit", String(WINDOW_ROWS));
    if (after !== undefined) parameters.set("after", after);
  }
  return `events?${parameters}`;
}
