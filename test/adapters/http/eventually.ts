import { expect } from "vitest";

/** `expect.poll` with the patience of a machine that runs much else. */
export function eventually<T>(read: () => T): ReturnType<typeof expect.poll<T>> {
  return expect.poll(read, { timeout: 20_000, interval: 10 });
}
