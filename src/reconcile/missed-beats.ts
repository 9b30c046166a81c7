import { invalidOptions, type OptionRules, rules } from "../option-rules.ts";
import { optionsSchema, parseOptions } from "../options.ts";
import { type Assessment, assessment, type HeartbeatHistory, type StalenessPolicy, silenceOf } from "./staleness.ts";

/** The options of {@link missedBeats}. */
export interface MissedBeatsOptions {
  /** How often a heartbeat is due, in milliseconds. */
  readonly intervalMs: number;
  /** How many in a row may be due without one having come. */
  readonly missed: number;
  /** How long one that has never beaten may take after it was provisioned, in milliseconds. Defaults to 60,000. */
  readonly startupGraceMs?: number;
}

const RULES: OptionRules = { intervalMs: rules.durationMs, missed: rules.count, startupGraceMs: rules.durationMs };
const SCHEMA = optionsSchema(RULES, ["intervalMs", "missed"]);

/**
 * Counts heartbeats that did not come: `suspect` once the last is strictly more than `intervalMs` ago, `stale` once it is
 * strictly more than `intervalMs` × `missed` ago.
 *
 * A heartbeat is late by its own jitter nearly every time, so with `missed: 1` a healthy resource is soon stale.
 *
 * @throws EvenkeelError `INVALID_OPTIONS`.
 */
export function missedBeats(options: MissedBeatsOptions): StalenessPolicy {
  parseOptions("missedBeats", SCHEMA, options);
  const { intervalMs, missed, startupGraceMs = 60_000 } = options;
  const staleAfterMs = intervalMs * missed;
  if (!Number.isSafeInteger(staleAfterMs))
    throw invalidOptions("missedBeats", "intervalMs times missed must be a number of milliseconds that can be counted");
  return Object.freeze({
    quietMs: Math.min(staleAfterMs, startupGraceMs),
    graceMs: staleAfterMs,
    assess(heartbeat: HeartbeatHistory, nowMs: number): Assessment {
      const silence = silenceOf(heartbeat, nowMs);
      if (silence === undefined) return assessment("fresh");
      const { sinceAt, ageMs, hasBeaten } = silence;
      const staleMs = hasBeaten ? staleAfterMs : startupGraceMs;
      // Before the first heartbeat none is due.
      const suspectMs = hasBeaten ? intervalMs : startupGraceMs;
      if (ageMs > staleMs) return assessment("stale");
      return ageMs > suspectMs
        ? assessment("suspect", sinceAt + staleMs + 1)
        : assessment("fresh", sinceAt + suspectMs + 1);
    },
  });
}
