import { seededRandom } from "evenkeel/testing";

/** Chance that repeats with its seed. */
export interface Dice {
  /** A number from `least` on, below `most`. */
  between(least: number, most: number): number;
  /** A whole number from `least` to `most`, both included. */
  whole(least: number, most: number): number;
  /** True so often, from 0 to 1. */
  chance(share: number): boolean;
  /** One of them; undefined where there is none. */
  pick<T>(items: readonly T[]): T | undefined;
  shuffle<T>(items: readonly T[]): T[];
  /** Dice of its own for what goes on beside, or draws more or less often: what is drawn here afterwards is the same. */
  fork(): Dice;
}

/** What runs side by side takes dice of its own, so that each draws the same whatever the others do. */
export function diceOf(seed: number): Dice {
  const random = seededRandom(seed);
  const between = (least: number, most: number): number => least + random.float() * (most - least);
  const whole = (least: number, most: number): number => Math.floor(between(least, most + 1));
  return {
    between,
    whole,
    chance: (share) => random.float() < share,
    pick: (items) => items[whole(0, items.length - 1)],
    shuffle(items) {
      const left = [...items];
      return items.flatMap(() => left.splice(whole(0, left.length - 1), 1));
    },
    fork: () => diceOf(whole(0, 2 ** 48)),
  };
}
