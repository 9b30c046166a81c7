import type { Delivery } from "./archive.ts";

/** What came of a job, by what its target has seen. */
export interface Tally {
  /** How many slots were run. */
  readonly slots: number;
  /** Those of which two reports were filed, or that were begun anew although nobody had been interrupted. */
  readonly twice: readonly string[];
  /** Those that nobody has run, between the first and the last. */
  readonly missed: readonly string[];
  /** How many reports were sent again after an interruption, and recognised. */
  readonly recognised: number;
  /** How many came from a former leader. */
  readonly refused: number;
  /** Whether an effect of a former leader came after one of a later one. */
  readonly wentBack: boolean;
}

/** @param deliveries - in the order in which they came in. */
export function tally(deliveries: readonly Delivery[], everyMs: number): Tally {
  const accepted = deliveries.filter(({ outcome }) => outcome !== "refused");
  const times = accepted.map(({ slot }) => Date.parse(slot));
  const run = new Set(times);
  const missed: string[] = [];
  for (let at = Math.min(...times); at < Math.max(...times); at += everyMs)
    if (!run.has(at)) missed.push(new Date(at).toISOString());
  const filed = accepted.filter(({ outcome }) => outcome === "filed").map(({ slot }) => slot);
  // An attempt that follows an interrupted one has a number of its own.
  const begun = accepted.map(({ slot, attempt }) => `${slot} ${attempt}`);
  const twice = [...repeated(filed), ...repeated(begun).map((turn) => turn.split(" ")[0] as string)];
  return {
    slots: run.size,
    twice: [...new Set(twice)],
    missed,
    recognised: accepted.length - filed.length,
    refused: deliveries.length - accepted.length,
    wentBack: accepted.some(({ epoch }, index) => epoch < (accepted[index - 1]?.epoch ?? 0)),
  };
}

function repeated(texts: readonly string[]): string[] {
  return texts.filter((text, index) => texts.indexOf(text) !== index);
}
