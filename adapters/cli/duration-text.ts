const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** The milliseconds of `500ms`, `90s`, `5m`, `12h` or `7d`; undefined for any other text. */
export function readDuration(text: string): number | undefined {
  const [, count = "", unit = "ms"] = /^(\d{1,12})(ms|s|m|h|d)$/.exec(text) ?? [];
  if (count === "") return undefined;
  const ms = Number(count) * UNITS[unit as keyof typeof UNITS];
  return Number.isSafeInteger(ms) ? ms : undefined;
}

/** A duration for people, by its two largest units: `850 ms`, `12 s`, `3 m 12 s`, `2 d 3 h`. */
export function durationText(ms: number): string {
  const whole = Math.max(0, Math.round(ms));
  if (whole < UNITS.s) return `${whole} ms`;
  const seconds = Math.floor(whole / UNITS.s);
  if (seconds < 60) return `${seconds} s`;
  const parts = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3_600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ] as const;
  const first = parts.findIndex(([count]) => count > 0);
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(" ");
}
