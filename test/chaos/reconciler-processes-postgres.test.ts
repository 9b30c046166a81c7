import { describePostgres } from "../support/engines.ts";
import { newPrefix, useDatabase } from "../support/postgres-ledgers.ts";
import { describeReconcilerProcesses } from "./reconciler-processes.ts";

describePostgres("processes that reconcile on one PostgreSQL", () => {
  const database = useDatabase();
  describeReconcilerProcesses(async () => `${await database.url()}#${newPrefix()}`, 2);
});
