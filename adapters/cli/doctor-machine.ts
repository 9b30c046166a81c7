import { type Clock, Stopwatch } from "../../src/clock.ts";
import { FINE, found, type Verdict } from "./doctor-check.ts";
import type { DoctorLimits } from "./doctor-limits.ts";
import { durationText } from "./duration-text.ts";

const ROUNDS = 5;

/**
 * Holds an engine's clock against this machine's. What the round trip takes is uncertain, so only what is further away than
 * that and the limit counts.
 */
export async function clockVerdict(
  engine: string,
  clock: Clock,
  { clockSkewMs }: DoctorLimits,
  ask: () => Promise<number>,
): Promise<Verdict> {
  const before = clock.now();
  const watch = new Stopwatch(clock);
  const theirs = await ask();
  const after = before + watch.elapsedMs();
  const skewMs = theirs < before ? theirs - before : Math.max(0, theirs - after);
  if (Math.abs(skewMs) <= clockSkewMs) return FINE;
  return found(
    "warning",
    `the clock of ${engine} is ${durationText(Math.abs(skewMs))} ${skewMs > 0 ? "ahead of" : "behind"} this machine's: leases are judged by its clock alone, but ages and dates in logs don't agree`,
    "run a time service such as chrony on both machines",
  );
}

/** The median of a few round trips. */
export async function latencyVerdict(
  engine: string,
  clock: Clock,
  { latencyMs }: DoctorLimits,
  ask: () => Promise<unknown>,
): Promise<Verdict> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const watch = new Stopwatch(clock);
    await ask();
    times.push(watch.monotonicMs());
  }
  const median = times.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] as number;
  if (median <= latencyMs) return FINE;
  return found(
    "hint",
    `a round trip to ${engine} from here takes ${durationText(median)}: each first call takes two`,
    "run the processes near the engine, and look for slow commands or a slow network between",
  );
}
