import { randomUUID } from "node:crypto";
import { describeRedis, redisUrl } from "../support/engines.ts";
import { describeReconcilerProcesses } from "./reconciler-processes.ts";

describeRedis("processes that reconcile on one Redis", () => {
  describeReconcilerProcesses(async () => `${redisUrl()}#${randomUUID()}:`, 2);
});
