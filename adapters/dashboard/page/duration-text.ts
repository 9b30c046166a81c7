const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Up to here the seconds are told. */
const SECONDS_MATTER = 10 * MINUTE;

/** How long something is, in at most two units: `4 s`, `3 min 20 s`, `14 min`, `2 h 5 min`, `3 d 4 h`. Negative is `0 s`. */
export function durationText(ms: number): string {
  const whole = Math.max(0, ms);
  if (whole < MINUTE) return `${Math.floor(whole / SECOND)} s`;
  if (whole < SECONDS_MATTER) return twoUnits(whole, MINUTE, "min", SECOND, "s");
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min`;
  return whole < DAY ? twoUnits(whole, HOUR, "h", MINUTE, "min") : twoUnits(whole, DAY, "d", HOUR, "h");
}

function twoUnits(ms: number, large: number, largeName: string, small: number, smallName: string): string {
  const rest = Math.floor((ms % large) / small);
  const text = `${Math.floor(ms / large)} ${largeName}`;
  return rest === 0 ? text : `${text} ${rest} ${smallName}`;
}

const whole = new Intl.NumberFormat();

/** A count, as people of this browser's language write it. */
export function countText(count: number): string {
  return whole.format(count);
}

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** A point in time, in full. */
export function momentText(at: number): string {
  return moment.format(at);
}
