/**
 * How far counts are from being equal: the standard score of their chi-square. For an even hash a normal variate, so that 5
 * is far beyond chance; below is not looked at, since keys in a row may be more even than chance.
 */
export function unevenness(counts: readonly number[]): number {
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  const chiSquare = counts.reduce((sum, count) => sum + (count - mean) ** 2 / mean, 0);
  const freedom = counts.length - 1;
  return (chiSquare - freedom) / Math.sqrt(2 * freedom);
}
