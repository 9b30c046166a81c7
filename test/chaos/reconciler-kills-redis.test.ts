import { randomUUID } from "node:crypto";
import { describeRedis, redisUrl } from "../support/engines.ts";
import { corePoints, describeReconcilerKills } from "./reconciler-kills.ts";

describeRedis("reconcilers on one Redis", () => {
  describeReconcilerKills({ create: async () => `${redisUrl()}#${randomUUID()}:`, leaseMs: 1_000, points: corePoints });
});
