import { describePostgres } from "../support/engines.ts";
import { newPrefix, useDatabase } from "../support/postgres-ledgers.ts";
import { describeElectionProcesses, proxiedOutage } from "./election-processes.ts";

describePostgres("a leader on one PostgreSQL", () => {
  const database = useDatabase();
  describeElectionProcesses(async () => `${await database.url()}#${newPrefix()}`, proxiedOutage);
});
