import { type OptionRules, rules } from "../option-rules.ts";
import { optionsSchema, parseOptions } from "../options.ts";
import { type Assessment, assessment, type HeartbeatHistory, type StalenessPolicy, silenceOf } from "./staleness.ts";

/** The options of {@link phiAccrual}. */
export interface PhiAccrualOptions {
  /** φ from which on it is stale; half of it is `suspect`. Defaults to 8: one wrong verdict in 10^8 on normal intervals. */
  readonly threshold?: number;
  /** With fewer intervals than this it is stale after 30 s of silence. At most 100. Defaults to 10. */
  readonly minSamples?: number;
  /** How long one that has never beaten may take after it was provisioned, in milliseconds. Defaults to 60,000. */
  readonly startupGraceMs?: number;
}

/** Akka's `min-std-deviation`. Also the least time to the next look. */
const MIN_DEVIATION_MS = 100;
/** Of the mean: what Akka assumes the standard deviation to be where it has seen no interval. */
const MIN_DEVIATION_RATIO = 1 / 4;
/** Stale after this, while there are too few samples. */
const FALLBACK_MS = 30_000;
/** As many as a {@link HeartbeatHistory} holds: with a higher minimum the fallback would never end. */
const MOST_SAMPLES = 100;

const RULES: OptionRules = {
  threshold: rules.custom("a positive finite number", (value) => Number.isFinite(value) && (value as number) > 0),
  minSamples: rules.custom(
    `a whole number from 1 to ${MOST_SAMPLES}`,
    (value) => rules.count.test(value) && (value as number) <= MOST_SAMPLES,
  ),
  startupGraceMs: rules.durationMs,
};
const SCHEMA = optionsSchema(RULES, []);

/**
 * The φ accrual failure detector: learns from the intervals how long this resource may be silent.
 * φ = -log10(P(a heartbeat comes later than now)), the intervals taken as normally distributed.
 *
 * The standard deviation counts as at least 100 ms (Akka's default of `min-std-deviation`), and as at least a quarter of the
 * mean (Akka's estimate before the first interval), so that one lost heartbeat of a very regular resource is not its end. A
 * heartbeat that is not due yet is never suspicious.
 *
 * Asks to be called again within half a mean interval, always: intervals are only as good as the looks at the heartbeats are
 * close, and a look that misses heartbeats would make the next intervals, and so the patience, longer and longer. It therefore
 * makes no promise of {@link StalenessPolicy.quietMs}: every row is looked at, which costs more than the other policies do.
 *
 * Hayashibara, Défago, Yared, Katayama, "The φ Accrual Failure Detector" (SRDS 2004), section 4.
 *
 * @throws EvenkeelError `INVALID_OPTIONS`.
 */
export function phiAccrual(options: PhiAccrualOptions = {}): StalenessPolicy {
  parseOptions("phiAccrual", SCHEMA, options);
  const { threshold = 8, minSamples = 10, startupGraceMs = 60_000 } = options;
  const suspectDeviations = deviationsOf(threshold / 2);
  const staleDeviations = deviationsOf(threshold);

  function limits({ lastHeartbeatAt }: HeartbeatHistory, known: Intervals): { suspectMs: number; staleMs: number } {
    if (lastHeartbeatAt === undefined) return { suspectMs: startupGraceMs + 1, staleMs: startupGraceMs + 1 };
    if (known.count < minSamples) return { suspectMs: FALLBACK_MS + 1, staleMs: FALLBACK_MS + 1 };
    const { meanMs, deviationMs } = known;
    return {
      suspectMs: Math.ceil(meanMs + suspectDeviations * deviationMs),
      staleMs: Math.ceil(meanMs + staleDeviations * deviationMs),
    };
  }

  return Object.freeze({
    assess(heartbeat: HeartbeatHistory, nowMs: number): Assessment {
      const silence = silenceOf(heartbeat, nowMs);
      if (silence === undefined) return assessment("fresh");
      const { sinceAt, ageMs } = silence;
      const known = intervalsOf(heartbeat);
      const { suspectMs, staleMs } = limits(heartbeat, known);
      if (ageMs >= staleMs) return assessment("stale");
      // Where no interval is known, it is at least the present silence.
      const expectedMs = known.count === 0 ? ageMs : known.meanMs;
      const lookAt = nowMs + Math.max(MIN_DEVIATION_MS, Math.ceil(expectedMs / 2));
      return ageMs >= suspectMs
        ? assessment("suspect", Math.min(sinceAt + staleMs, lookAt))
        : assessment("fresh", Math.min(sinceAt + suspectMs, lookAt));
    },
  });
}

interface Intervals {
  readonly count: number;
  readonly meanMs: number;
  /** Standard deviation, not below its floor. */
  readonly deviationMs: number;
}

/** Mean and deviation of the intervals that are any. */
function intervalsOf({ intervalsMs }: HeartbeatHistory): Intervals {
  const samples = intervalsMs.filter((ms) => ms >= 0 && ms <= Number.MAX_SAFE_INTEGER);
  const count = samples.length;
  if (count === 0) return { count, meanMs: 0, deviationMs: MIN_DEVIATION_MS };
  const meanMs = samples.reduce((sum, ms) => sum + ms, 0) / count;
  const variance = samples.reduce((sum, ms) => sum + (ms - meanMs) ** 2, 0) / count;
  return { count, meanMs, deviationMs: Math.max(Math.sqrt(variance), MIN_DEVIATION_MS, meanMs * MIN_DEVIATION_RATIO) };
}

/**
 * φ of a silence that is so many standard deviations longer (negative: shorter) than the mean interval. Computed as a
 * logarithm all the way, so that it neither jumps to Infinity where the probability is too small for a number, nor loses digits.
 */
export function phiOf(deviations: number): number {
  const x = Math.abs(deviations) / Math.SQRT2;
  const lnTail = lnErfc(x) - Math.LN2;
  return (deviations > 0 ? -lnTail : -Math.log1p(-Math.exp(lnTail))) / Math.LN10;
}

/** The least deviation over 0 at which φ reaches `phi`: by bisection down to neighbouring numbers. */
function deviationsOf(phi: number): number {
  let below = 0;
  let reached = 1;
  while (phiOf(reached) < phi) reached *= 2;
  for (;;) {
    const middle = below + (reached - below) / 2;
    if (middle === below || middle === reached) return reached;
    if (phiOf(middle) < phi) below = middle;
    else reached = middle;
  }
}

/** From here on the continued fraction needs few terms, and up to here 1 - erf loses few digits. */
const SERIES_UNTIL = 2;
/** Enough for 14 digits at 2, and more than enough beyond. */
const FRACTION_TERMS = 80;

/** ln(erfc(x)) for x >= 0. */
function lnErfc(x: number): number {
  return x < SERIES_UNTIL ? Math.log1p(-erfBySeries(x)) : -x * x + Math.log(scaledErfcByFraction(x));
}

/** DLMF 7.6.2: a series of positive terms, so nothing cancels. */
function erfBySeries(x: number): number {
  let term = x;
  let sum = 0;
  for (let n = 1; sum + term !== sum; n += 1) {
    sum += term;
    term *= (2 * x * x) / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** e^(x²) erfc(x): the continued fraction of Abramowitz and Stegun 7.1.14, from its end. */
function scaledErfcByFraction(x: number): number {
  let denominator = x;
  for (let k = FRACTION_TERMS; k >= 1; k -= 1) denominator = x + k / 2 / denominator;
  return 1 / (denominator * Math.sqrt(Math.PI));
}
