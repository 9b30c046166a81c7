import { randomUUID } from "node:crypto";
import { describeRedis, redisUrl } from "../support/engines.ts";
import { describeDeliveryFaults } from "./delivery-faults.ts";
import { describeProcessFaults } from "./process-faults.ts";

const newLedger = async (): Promise<string> => `${redisUrl()}#${randomUUID()}:`;

describeRedis("processes on one Redis", () => {
  describeProcessFaults(newLedger);
});

describeRedis("messages to a Redis", () => {
  describeDeliveryFaults(newLedger);
});
