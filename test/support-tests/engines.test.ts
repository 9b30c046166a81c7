import pg from "pg";
import { expect, it } from "vitest";
import { askRedis } from "../support/ask-redis.ts";
import { databaseUrl, describePostgres, describeRedis, redisUrl } from "../support/engines.ts";

describeRedis("the Redis of the run", () => {
  it("answers, and never evicts", async () => {
    const port = Number(new URL(redisUrl()).port);
    expect(await askRedis(port, "CONFIG GET maxmemory-policy")).toContain("noeviction");
  });
});

describePostgres("the PostgreSQL of the run", () => {
  it("gives each caller an empty database of its own", async () => {
    const urls = await Promise.all([databaseUrl(), databaseUrl(), databaseUrl()]);
    expect(new Set(urls).size).toBe(3);
    for (const connectionString of urls) {
      const client = new pg.Client({ connectionString });
      await client.connect();
      const { rows } = await client.query("SELECT FROM pg_tables WHERE schemaname = 'public'");
      expect(rows).toHaveLength(0);
      await client.end();
    }
  });
});
