import { startPostgres } from "./postgres-server.ts";
import { startRedis } from "./redis-server.ts";
import { runFolder } from "./run-folder.ts";
import { serve } from "./workers.ts";

// A process that starts servers and doesn't live to end them.
serve(async () => {
  const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  redis.pause();
  postgres.pause();
  return { folder: runFolder() };
});
