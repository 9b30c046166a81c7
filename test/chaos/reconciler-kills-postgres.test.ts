import { describePostgres } from "../support/engines.ts";
import { newPrefix, useDatabase } from "../support/postgres-ledgers.ts";
import { corePoints, describeReconcilerKills } from "./reconciler-kills.ts";

describePostgres("reconcilers on one PostgreSQL", () => {
  const database = useDatabase();
  describeReconcilerKills({
    create: async () => `${await database.url()}#${newPrefix()}`,
    leaseMs: 2_000,
    points: corePoints,
  });
});
