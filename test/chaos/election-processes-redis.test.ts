import { randomUUID } from "node:crypto";
import { describeRedis, redisUrl } from "../support/engines.ts";
import { describeElectionProcesses, proxiedOutage } from "./election-processes.ts";

describeRedis("a leader on one Redis", () => {
  describeElectionProcesses(async () => `${redisUrl()}#${randomUUID()}:`, proxiedOutage);
});
