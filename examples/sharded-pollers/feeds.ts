/** How often each feed is polled, in milliseconds. */
export const EVERY_MS = 1_000;

export const SHARDS = 256;

/** What there is to poll; who polls it, the shards decide. */
export const FEEDS: readonly string[] = Array.from({ length: 240 }, (_, n) => `feed-${n + 1}`);
