import { describePostgres } from "../support/engines.ts";
import { newPrefix, useDatabase } from "../support/postgres-ledgers.ts";
import { proxiedOutage } from "./election-processes.ts";
import { describeShardProcesses } from "./shard-processes.ts";

describePostgres("a member of a division on one PostgreSQL", () => {
  const database = useDatabase();
  describeShardProcesses(async () => `${await database.url()}#${newPrefix()}`, proxiedOutage);
});
