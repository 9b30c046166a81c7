import { describePostgresServers } from "../support/engines.ts";
import { newPrefix } from "../support/postgres-ledgers.ts";
import { startPostgres } from "../support/postgres-server.ts";
import { describeReconcilerOutages } from "./reconciler-outages.ts";

describePostgresServers("a reconciler on a PostgreSQL", () => {
  describeReconcilerOutages(async () => {
    const server = await startPostgres();
    return {
      newUrl: async () => `${server.url}#${newPrefix()}`,
      kill: () => server.kill(),
      restart: () => server.restart(),
    };
  });
});
