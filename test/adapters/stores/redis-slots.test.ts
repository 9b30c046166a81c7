import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { slotOf } from "../../../adapters/stores/redis-slots.ts";
import { askRedis } from "../../support/ask-redis.ts";
import { describeRedisServers } from "../../support/engines.ts";
import { type RedisServer, startRedis } from "../../support/redis-server.ts";

describe("slotOf", () => {
  it("is CRC-16/XMODEM", () => expect(slotOf("123456789")).toBe(0x31c3));
});

describeRedisServers("slotOf", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis({ args: ["--cluster-enabled", "yes"] });
  });
  afterAll(() => server?.stop());

  it.each([
    ...["a", "evenkeel:{3fc}:x:ab", "evenkeel:{leases}:x", "{user1000}.following"],
    ...["foo{}{bar}", "foo{{bar}}zap", "foo{bar}{zap}", "foo}{bar", "foo{bar", "{}", "é{ü€}", "𝕏"],
  ])("is what the server says of %s", async (key) => {
    expect(await askRedis(server.port, `CLUSTER KEYSLOT ${key}`)).toBe(`:${slotOf(key)}\r\n`);
  });
});
