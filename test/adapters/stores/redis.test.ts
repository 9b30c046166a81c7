import { describe, it } from "vitest";
import { storeConformance } from "../../../src/testing/index.ts";
import { describeRedis } from "../../support/engines.ts";
import { nodeRedisSubject, REDIS_CAPABILITIES } from "../../support/redis-subject.ts";

describeRedis("redisStore on redis", () => {
  storeConformance({ describe, it }, nodeRedisSubject, REDIS_CAPABILITIES);
});
