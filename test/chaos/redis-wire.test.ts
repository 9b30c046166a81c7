import { randomUUID } from "node:crypto";
import { describeRedis, redisUrl } from "../support/engines.ts";
import { describeWireFaults } from "./wire-faults.ts";

describeRedis("the wire to a Redis", () => {
  // Only a completion carries an outcome, and outcomes name their kind.
  const completion = (request: Buffer): boolean => request.includes("\r\nvalue\r\n");
  describeWireFaults(async () => `${redisUrl()}#${randomUUID()}:`, { completion });
});
