import { randomUUID } from "node:crypto";
import { describeRedisServers } from "../support/engines.ts";
import { startRedis } from "../support/redis-server.ts";
import { describeReconcilerOutages } from "./reconciler-outages.ts";

describeRedisServers("a reconciler on a Redis", () => {
  describeReconcilerOutages(async () => {
    const server = await startRedis();
    return {
      newUrl: async () => `${server.url}#${randomUUID()}:`,
      kill: () => server.kill(),
      restart: () => server.restart(),
    };
  });
});
