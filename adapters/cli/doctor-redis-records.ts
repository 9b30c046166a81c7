import type { AskRedis } from "../stores/redis-client.ts";
import { HEAD_BYTES, isRecordHead } from "../stores/redis-execution-record.ts";
import { RedisKeys } from "../stores/redis-keys.ts";
import { textOfReply } from "../stores/redis-reply.ts";
import type { Verdict } from "./doctor-check.ts";
import type { DoctorLimits } from "./doctor-limits.ts";
import { MOST_IDS, unreadableVerdict } from "./doctor-unreadable.ts";

/** A server whose records are looked through. */
export interface ScannedRedis {
  readonly ask: AskRedis;
  readonly prefix: string;
  readonly limits: DoctorLimits;
}

const SCANNED_AT_ONCE = 500;

/** Looks at the heads of the records of executions, by SCAN: it holds nobody up, and sees what lists leave out. */
export async function unreadableRedisRecords({ ask, prefix, limits }: ScannedRedis): Promise<Verdict> {
  const pattern = new RedisKeys(prefix).records;
  const unreadable: string[] = [];
  let cursor = "0";
  let seen = 0;
  do {
    const scan = ["SCAN", cursor, "MATCH", pattern, "COUNT", String(SCANNED_AT_ONCE)];
    const [next, found] = (await ask(scan)) as [unknown, unknown[]];
    cursor = textOfReply(next);
    const keys = found.map(textOfReply);
    seen += keys.length;
    const heads = await Promise.all(keys.map((key) => headOf(ask, key)));
    for (const [at, key] of keys.entries()) {
      const id = key.slice(-64);
      const head = heads[at] as string;
      // Empty: it has expired since.
      if (head !== "" && !isRecordHead(head, id)) unreadable.push(id);
    }
  } while (cursor !== "0" && seen < limits.records && unreadable.length < MOST_IDS);
  return unreadableVerdict([...new Set(unreadable)].sort());
}

async function headOf(ask: AskRedis, key: string): Promise<string> {
  try {
    return textOfReply(await ask(["GETRANGE", key, "0", String(HEAD_BYTES)]));
  } catch (error) {
    // No text at all.
    if (error instanceof Error && error.message.includes("WRONGTYPE")) return "?";
    throw error;
  }
}
