import { RedisKeys } from "../stores/redis-keys.ts";
import { isLeaseText } from "../stores/redis-lease-scripts.ts";
import { textOfReply } from "../stores/redis-reply.ts";
import { found, type Verdict } from "./doctor-check.ts";
import type { ScannedRedis } from "./doctor-redis-records.ts";
import { MOST_IDS, unreadableLeasesVerdict } from "./doctor-unreadable.ts";

const SCANNED_AT_ONCE = 500;

/** Looks at the leases by HSCAN: it holds nobody up, and sees what lists leave out. */
export async function unreadableRedisLeases({ ask, prefix, limits }: ScannedRedis): Promise<Verdict> {
  const { leases } = new RedisKeys(prefix);
  const unreadable = new Set<string>();
  let cursor = "0";
  let seen = 0;
  do {
    let page: readonly [unknown, unknown[]];
    try {
      page = (await ask(["HSCAN", leases, cursor, "COUNT", String(SCANNED_AT_ONCE)])) as [unknown, unknown[]];
    } catch (error) {
      if (!(error instanceof Error) || !error.message.includes("WRONGTYPE")) throw error;
      return found(
        "error",
        "the leases are no hash: nobody can lead, or own a shard",
        `look at the key ${leases}; where no newer evenkeel wrote it, stop who competes for leases and delete it`,
      );
    }
    const [next, pairs] = page;
    cursor = textOfReply(next);
    for (let at = 0; at < pairs.length; at += 2) {
      if (!isLeaseText(textOfReply(pairs[at + 1]))) unreadable.add(textOfReply(pairs[at]));
    }
    seen += pairs.length / 2;
  } while (cursor !== "0" && seen < limits.records && unreadable.size < MOST_IDS);
  return unreadableLeasesVerdict([...unreadable].sort(), `the hash ${leases}`);
}
