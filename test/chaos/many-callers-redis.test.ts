import { randomUUID } from "node:crypto";
import { describeRedis, redisUrl } from "../support/engines.ts";
import { describeManyCallers } from "./many-callers-remote.ts";

describeRedis("200 callers of each key in 4 processes on one Redis", () => {
  describeManyCallers(async () => `${redisUrl()}#${randomUUID()}:`);
});
