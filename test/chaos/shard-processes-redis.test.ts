import { randomUUID } from "node:crypto";
import { describeRedis, redisUrl } from "../support/engines.ts";
import { proxiedOutage } from "./election-processes.ts";
import { describeShardProcesses } from "./shard-processes.ts";

describeRedis("a member of a division on one Redis", () => {
  describeShardProcesses(async () => `${redisUrl()}#${randomUUID()}:`, proxiedOutage);
});
