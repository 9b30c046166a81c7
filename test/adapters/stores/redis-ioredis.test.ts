import { describe, it } from "vitest";
import { storeConformance } from "../../../src/testing/index.ts";
import { describeRedis } from "../../support/engines.ts";
import { ioredisSubject, REDIS_CAPABILITIES } from "../../support/redis-subject.ts";

describeRedis("redisStore on ioredis", () => {
  storeConformance({ describe, it }, ioredisSubject, REDIS_CAPABILITIES);
});
